"""Each way for a table to be worthless is refused, and nothing else."""

import types

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.study import detector
from experiments.study import run as run_lib
from limaml_jax import types as feature_types
from limaml_jax.evaluation import scores as scores_lib

_SIZE = 600
_RNG = np.random.default_rng(0)
_LABEL = _RNG.integers(2, size=_SIZE).astype(np.float32)
_NOISE = {seed: _RNG.random(_SIZE) for seed in range(6)}


def make_outcome(label, score, *, seed=0, variant='limaml', key='', **columns):
  zeros = np.zeros(_SIZE, np.int64)
  rows = scores_lib.Scores(
      entity=zeros,
      day=zeros,
      label=_LABEL,
      score=np.asarray(score, float) * np.ones(_SIZE),
      support_size=zeros + 3,
      age_seconds=zeros + 10,
      status=zeros.astype(np.uint8),
  )
  run = run_lib.Run(label, variant=variant)
  key = key or f'{label} {seed}'
  return run_lib.Outcome(run, seed, key, rows._replace(**columns), {})


def find(*outcomes):
  by_label = {}
  for outcome in outcomes:
    by_label.setdefault(outcome.run.label, []).append(outcome)
  return detector.find(by_label)


class FindTest(parameterized.TestCase):

  def assert_refused(self, pattern, *outcomes):
    reasons = find(*outcomes)
    self.assertLen(reasons, 1)
    self.assertRegex(reasons[0], pattern)

  def test_healthy_runs_pass(self):
    self.assertEmpty(find(
        make_outcome('limaml', _NOISE[0]),
        make_outcome('limaml', _NOISE[1], seed=1),
        make_outcome('global', _NOISE[2], variant='global'),
        make_outcome('random', _NOISE[3], variant='random'),
    ))

  def test_constant_scores(self):
    self.assert_refused('all scores are 0.25', make_outcome('a', 0.25))

  def test_scores_that_are_constant_but_for_one_row(self):
    score = np.full(_SIZE, 0.25)
    score[7] = 0.5
    self.assert_refused('all scores are 0.25', make_outcome('a', score))

  def test_scores_that_differ_by_rounding_alone(self):
    self.assert_refused(
        'a and b give identical scores under seed 0',
        make_outcome('a', _NOISE[0]), make_outcome('b', _NOISE[0] + 1e-8),
    )
    self.assertEmpty(find(
        make_outcome('a', _NOISE[0]), make_outcome('b', _NOISE[0] + 1e-4)
    ))

  def test_runs_under_other_protocols_have_other_rows(self):
    other = make_outcome('b', _NOISE[1])
    half = scores_lib.select(other.scores, np.arange(_SIZE) % 2 == 0)
    self.assertEmpty(find(
        make_outcome('a', _NOISE[0]), other._replace(scores=half)
    ))

  def test_scores_that_know_the_label_upside_down(self):
    self.assert_refused(
        'too good to be true',
        make_outcome('a', 0.5 + 0.1 * _NOISE[0] - 0.5 * _LABEL),
    )

  def test_seeds_that_make_no_difference_to_a_baseline_that_trains(self):
    same = [
        make_outcome('a', _NOISE[0], seed=seed, variant='daily_ids')
        for seed in (0, 1)
    ]
    self.assert_refused('seeds 0 and 1 give identical', *same)
    once = [
        make_outcome('a', _NOISE[0], seed=seed, variant='trees')
        for seed in (0, 1)
    ]
    self.assertEmpty(find(*once))

  def test_identical_scores_of_two_runs(self):
    self.assert_refused(
        'a and b give identical scores under seed 0',
        make_outcome('a', _NOISE[0]), make_outcome('b', _NOISE[0]),
    )

  def test_one_run_under_two_labels_is_no_mistake(self):
    self.assertEmpty(find(
        make_outcome('a', _NOISE[0], key='same'),
        make_outcome('b', _NOISE[0], key='same'),
    ))

  def test_a_run_that_may_equal_another(self):
    capped = make_outcome('b', _NOISE[0])
    run = capped.run._replace(may_equal=True)
    self.assertEmpty(
        find(make_outcome('a', _NOISE[0]), capped._replace(run=run))
    )

  def test_seeds_that_make_no_difference_to_a_network(self):
    self.assert_refused(
        'seeds 0 and 1 give identical',
        make_outcome('a', _NOISE[0]), make_outcome('a', _NOISE[0], seed=1),
    )

  def test_what_counts_may_give_the_same_under_each_seed(self):
    self.assertEmpty(find(
        make_outcome('a', _NOISE[0], variant='item_prior', key='same'),
        make_outcome('a', _NOISE[0], variant='item_prior', key='same'),
    ))

  def test_random_scores_that_beat_chance(self):
    # A fifth of the weight on the label: ROC-AUC about .66, error .024.
    biased = 0.8 * _NOISE[0] + 0.2 * _LABEL
    self.assert_refused(
        'standard errors above chance',
        make_outcome('random', biased, variant='random'),
    )
    self.assertEmpty(find(make_outcome('limaml', biased)))

  def test_seeds_of_the_control_are_judged_together(self):
    # Each is two to four errors above chance, too little alone.
    weak = [0.95 * _NOISE[n] + 0.05 * _LABEL for n in range(4)]
    parts = [
        make_outcome('random', score, seed=n, variant='random')
        for n, score in enumerate(weak)
    ]
    for part in parts:
      self.assertEmpty(find(part))
    self.assert_refused('standard errors above chance', *parts)

  def test_scores_that_know_the_label(self):
    self.assert_refused(
        'too good to be true',
        make_outcome('a', 0.1 * _NOISE[0] + 0.5 * _LABEL),
    )

  @parameterized.parameters(
      ({'age_seconds': 0}, True),
      ({'age_seconds': 0, 'support_size': 0}, False),  # Nothing was seen.
      ({'age_seconds': 0, 'status': 2}, False),  # No embedding was served.
      ({'age_seconds': 1}, False),
  )
  def test_an_embedding_of_the_rows_own_time(self, row, is_refused):
    outcome = make_outcome('a', _NOISE[0])
    columns = {}
    for name, value in row.items():
      columns[name] = getattr(outcome.scores, name).copy()
      columns[name][7] = value
    outcome = make_outcome('a', _NOISE[0], **columns)
    if is_refused:
      self.assert_refused('row 7 was served an embedding', outcome)
    else:
      self.assertEmpty(find(outcome))

  def test_failed_runs_are_not_judged(self):
    failed = make_outcome('a', _NOISE[0])._replace(scores=None, reason='no')
    self.assertEmpty(find(failed, failed._replace(seed=1)))


class FindLeaksTest(parameterized.TestCase):

  @parameterized.parameters(
      ('numeric', lambda label: (1 - label).astype(np.float32)),
      ('categorical', lambda label: label.astype(np.int32) + 1),
      ('multi_hot', lambda label: np.stack(
          [label.astype(np.int32) + 1, np.full(label.size, -1)], 1
      )),
  )
  def test_a_feature_that_is_the_label(self, kind, make):
    self.assertRegex(self.find(kind, make(_LABEL))[0], 'feature f alone')

  @parameterized.parameters(
      ('numeric', lambda noise: noise.astype(np.float32)),
      ('categorical', lambda noise: (9 * noise).astype(np.int32)),
  )
  def test_a_feature_that_knows_nothing(self, kind, make):
    self.assertEmpty(self.find(kind, make(_NOISE[0])))

  def test_a_feature_made_of_earlier_events_may_tell(self):
    values = _LABEL.astype(np.float32)
    self.assertEmpty(self.find('numeric', values, past=['f']))
    self.assertNotEmpty(self.find('numeric', values, past=['g']))

  def find(self, kind, values, past=()):
    make = feature_types.FeatureSpec
    info = types.SimpleNamespace(
        name='made up',
        entity_feature='user', item_feature='item',
        features=(
            make('user', 'categorical', 'entity', 'meta'),
            make('f', kind, 'context', 'global'),
        ),
    )  # fmt: skip
    table = types.SimpleNamespace(
        entity_keys=np.arange(60),
        offsets=np.arange(0, _SIZE + 1, 10),
        labels=_LABEL,
        entity_features={'user': np.arange(60)},
        event_features={'f': values},
    )
    data = types.SimpleNamespace(info=info, table=table)
    return detector.find_leaks(data, past)


if __name__ == '__main__':
  absltest.main()

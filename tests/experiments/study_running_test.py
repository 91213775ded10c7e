"""Runs of a study: shared, resumed one by one, and failing alone."""

import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.baselines import registry
from experiments.study import datasets as datasets_lib
from experiments.study import detector
from experiments.study import inputs as inputs_lib
from experiments.study import run as run_lib
from experiments.study import running
from experiments.study import scorers
from experiments.study import settings as settings_lib
from experiments.study import training
from experiments.study import writing
from limaml_jax import errors
from limaml_jax.training import loop
from tests.experiments import commands

_SMALL = commands.SMALL_SETTINGS | {'protocol.new_entity_fraction': 0.0}
_LIMAML = run_lib.Run('limaml')
_UNADAPTED = run_lib.Run('unadapted', variant='unadapted')
_RANDOM = run_lib.Run('random', variant='random')
_PRIOR = run_lib.Run('item_prior', variant='item_prior')


class RunAllTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    commands.write_log(cls.dir / 'raw')
    cls.workdir = cls.dir / 'studies'
    # Trained once for all tests, as studies share it.
    cls.first = cls.run_all(cls, _LIMAML, _UNADAPTED, _RANDOM, _PRIOR)
    cls.trained = list((cls.workdir / 'trained').iterdir())

  def run_all(self, *runs, seeds=(0,), workdir=None, given=None):
    workdir = workdir or self.workdir
    inputs = inputs_lib.Inputs(
        settings_lib.load('ml100k', _SMALL | (given or {})),
        datasets_lib.Datasets(workdir, self.dir / 'raw'),
        workdir,
    )
    return running.run_all(runs, seeds, inputs=inputs)

  def test_all_runs_score_the_same_rows(self):
    parts = [outcomes[0] for outcomes in self.first.values()]
    for part in parts:
      self.assertEqual(part.reason, '')
      for name in ('entity', 'day', 'label', 'support_size'):
        np.testing.assert_array_equal(
            getattr(part.scores, name), getattr(parts[0].scores, name)
        )

  def test_unadapted_is_the_checkpoint_of_limaml(self):
    self.assertLen(self.trained, 1)
    one, other = (
        self.first[name][0].scores.score for name in ('limaml', 'unadapted')
    )
    self.assertFalse(np.array_equal(one, other))

  def test_facts_tell_what_training_took(self):
    facts = self.first['limaml'][0].facts
    self.assertGreater(facts['num_steps'], 2)
    self.assertGreater(facts['train_seconds'], 0)

  def test_facts_of_what_an_earlier_call_trained(self):
    (run_dir,) = self.trained
    path = run_dir / training._FACTS_FILE
    kept = path.read_text()
    path.unlink()
    config = settings_lib.load('ml100k', _SMALL).resolve(_LIMAML, 0)
    data = datasets_lib.Datasets(self.workdir, None).get(config, {})
    _, facts = training.train(
        config, data, self.workdir, lambda done, total: None
    )
    path.write_text(kept)
    expected = self.first['limaml'][0].facts
    self.assertEqual(facts['num_steps'], expected['num_steps'])
    self.assertIsNone(facts['train_seconds'])

  def test_what_is_finished_is_neither_trained_nor_scored_again(self):
    with (
        mock.patch.object(loop, 'train', side_effect=AssertionError),
        mock.patch.object(scorers, 'score', side_effect=AssertionError),
    ):
      again = self.run_all(_LIMAML, _UNADAPTED)
    np.testing.assert_array_equal(
        again['limaml'][0].scores.score, self.first['limaml'][0].scores.score
    )
    self.assertEqual(again['limaml'][0].facts, self.first['limaml'][0].facts)

  def test_scores_come_back_by_training_without_training(self):
    key = self.first['unadapted'][0].key
    shutil.rmtree(self.workdir / 'scores' / key)
    with mock.patch.object(loop, 'train', side_effect=AssertionError):
      again = self.run_all(_LIMAML, _UNADAPTED)
    np.testing.assert_array_equal(
        again['unadapted'][0].scores.score,
        self.first['unadapted'][0].scores.score,
    )

  def test_an_interrupted_study_goes_on_run_by_run(self):
    scored = []
    score = scorers.score

    def interrupt(job, *arguments):
      if job.seed == 8:
        raise KeyboardInterrupt
      scored.append(job.seed)
      return score(job, *arguments)

    with mock.patch.object(scorers, 'score', interrupt):
      with self.assertRaises(KeyboardInterrupt):
        self.run_all(_RANDOM, seeds=(7, 8, 9))
    self.assertEqual(scored, [7])
    with mock.patch.object(
        scorers, 'score', side_effect=lambda job, *rest: (
            scored.append(job.seed) or score(job, *rest)
        )
    ):
      self.run_all(_RANDOM, seeds=(7, 8, 9))
    self.assertEqual(scored, [7, 8, 9])

  def test_seeds_of_a_run_follow_each_other(self):
    # Programs of many runs, kept until the next seed, would fill the memory.
    scored = []

    def fail(job, *_):
      scored.append((job.run.label, job.seed))
      raise errors.InputError('not today')

    with mock.patch.object(scorers, 'score', fail):
      self.run_all(
          _RANDOM, _RANDOM._replace(label='other', options={'n': 1}),
          seeds=(5, 6),
      )  # fmt: skip
    self.assertEqual(
        scored, [('random', 5), ('random', 6), ('other', 5), ('other', 6)]
    )

  def test_a_run_that_fails_stops_no_other(self):
    fail = errors.InputError('step 3: the meta loss is not finite')
    other = _LIMAML._replace(
        label='fast', settings={'inner_loop.learning_rate': 9.0}
    )
    with mock.patch.object(loop, 'train', side_effect=fail):
      outcomes = self.run_all(
          other,
          run_lib.Run('nobody', variant='nobody'),
          run_lib.Run('typo', settings={'inner_loop.steps': 2}),
          _RANDOM,
      )
    self.assertIn('not finite', outcomes['fast'][0].reason)
    self.assertIn('unknown', outcomes['nobody'][0].reason)
    self.assertIn('did you mean', outcomes['typo'][0].reason)
    self.assertIsNone(outcomes['fast'][0].scores)
    self.assertEqual(outcomes['random'][0].reason, '')

  def test_whatever_a_baseline_raises_is_a_reason(self):
    for error in (ValueError('too\nmany'), MemoryError()):
      fails = mock.Mock(side_effect=error)
      with mock.patch.dict(registry.REGISTRY, {'dice': fails}):
        outcomes = self.run_all(run_lib.Run('dice', variant='dice'), _RANDOM)
      expected = str(error).splitlines()[0] if str(error) else 'MemoryError()'
      self.assertEqual(outcomes['dice'][0].reason, expected)
      self.assertEqual(outcomes['random'][0].reason, '')

  def test_a_baseline_of_the_registry_is_given_what_it_needs(self):
    seen = {}

    def baseline(request):
      seen.update(request._asdict())
      request.on_progress(1, 1)
      return scorers._random(request.data, request.seed)

    with mock.patch.dict(registry.REGISTRY, {'dice': baseline}):
      outcomes = self.run_all(
          run_lib.Run('dice', variant='dice'), seeds=(3,)
      )
    self.assertEqual(outcomes['dice'][0].reason, '')
    self.assertEqual(seen['seed'], 3)
    self.assertEqual(seen['config'].training.seed, 3)
    self.assertStartsWith(str(seen['workdir']), str(self.workdir))

  def test_trees_are_fitted_once_for_all_seeds(self):
    calls = []

    def score(request):
      calls.append(request.seed)
      return scorers._random(request.data, request.seed)

    names = (registry.TREES, registry.DAILY_IDS)
    fakes = dict.fromkeys(names, score)
    with mock.patch.dict(registry.REGISTRY, fakes):
      outcomes = self.run_all(
          *(run_lib.Run(name, variant=name) for name in names), seeds=(3, 4)
      )
    self.assertEqual(sorted(calls), [0, 3, 4])
    one, other = outcomes[registry.TREES]
    np.testing.assert_array_equal(one.scores.score, other.scores.score)

  def test_runs_that_are_the_same_get_no_table(self):
    # Without inner steps LiMAML is its own unadapted self.
    outcomes = self.run_all(
        _LIMAML, _UNADAPTED, _RANDOM, given={'inner_loop.num_steps': 0}
    )
    refused = detector.find(outcomes)
    self.assertLen(refused, 1)
    self.assertIn('limaml and unadapted give identical scores', refused[0])
    facts = {
        'title': 'T', 'question': 'Q?', 'command': 'c', 'seeds': [0],
        'dataset': 'd', 'protocol': 'p', 'window': 'w', 'refused': refused,
    }  # fmt: skip
    directory = self.dir / 'degenerate' / 'x'
    written = writing.write(directory, facts, outcomes, None)
    self.assertEqual(writing.read_all(directory.parent), {directory: written})
    self.assertEmpty(written['tables'])
    self.assertLen(written['runs'], 3)
    self.assertIsNotNone(written['runs'][0]['gauc_by_refresh'])
    page = (directory / writing.PAGE_FILE).read_text()
    self.assertIn('No table', page)
    self.assertIn('identical scores', page)

  @parameterized.parameters(
      {},
      {'episodes.support_half_life_events': 1.0},
      {'model.ensemble_size': 2},
  )
  def test_rows_by_weights_are_rows_by_embeddings_for_one_input(self, **given):
    # Meta features of the entity alone: nothing is pooled, so both agree.
    outcomes = self.run_all(
        _LIMAML, _LIMAML._replace(label='weights', scorer='per_row'),
        given=given,
    )
    stored, weights = (
        outcomes[name][0].scores for name in ('limaml', 'weights')
    )
    np.testing.assert_array_equal(stored.entity, weights.entity)
    np.testing.assert_allclose(stored.score, weights.score, atol=1e-5)
    facts = outcomes['weights'][0].facts
    self.assertEqual(
        facts['embedding_bytes'], 16 * given.get('model.ensemble_size', 1)
    )
    self.assertGreater(facts['weights_bytes'], 16)

  def test_rows_by_weights_are_refused_for_a_history(self):
    block = {'model.meta_block.kind': 'deep_sets'}
    run = _LIMAML._replace(settings=block, scorer='per_row')
    self.assertIn('per_row is for mlp', self.run_all(run)['limaml'][0].reason)

  def test_cost_counts_what_a_refresh_takes(self):
    costed = _LIMAML._replace(label='cost', options={'cost': True})
    facts = self.run_all(costed)['cost'][0].facts
    self.assertEqual(facts['refresh_entities'], 40)
    self.assertGreater(facts['refresh_seconds'], 0)
    self.assertGreater(facts['refresh_flops'], 0)
    self.assertGreater(facts['parameters'], 0)


if __name__ == '__main__':
  absltest.main()

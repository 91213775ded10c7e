"""Every study's page, of scores that are made up for each of its runs."""

import importlib
import pathlib
import re
import types
from unittest import mock
import xml.etree.ElementTree

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import settings as settings_lib
from experiments.study import standard
from experiments.study import statistics
from experiments.study import tables
from limaml_jax import errors
from limaml_jax.evaluation import scores as scores_lib

_STUDIES = pathlib.Path(run_lib.__file__).parents[1] / 'studies'
_NAMES = sorted(p.stem for p in _STUDIES.glob('*.py') if p.stem[0] != '_')
_NUM_ENTITIES = 40
_VALIDATION = {'protocol.phase': 'validation'}
_FACTS = {
    'train_seconds': 2.0, 'num_steps': 9.0, 'refresh_seconds': 0.5,
    'refresh_entities': 40.0, 'refresh_flops': 1e6, 'parameters': 2e4,
    'refreshes_per_day': 1.0, 'weights_bytes': 4000.0, 'embedding_bytes': 128.0,
}  # fmt: skip

# Study, the runs that know labels, and what its answer must then say.
_MUCH = r'0\.[3-6]'
_ANSWERS = (
    ('baselines', 'limaml',
     rf'limaml minus the best other, \w+: ROC-AUC \+{_MUCH}'),
    ('baselines', 'daily_ids',
     rf'minus the best other, daily_ids: ROC-AUC -{_MUCH}'),
    ('baselines', r'limaml \+ user rates',
     rf'with user rates, limaml minus global: ROC-AUC \+{_MUCH}'),
    ('cold_start', 'limaml', rf'not seen: LiMAML gains \+{_MUCH}'),
    ('cold_start', 'held out: limaml',
     rf'held out of training: LiMAML gains \+{_MUCH}'),
    ('cost', 'K = 4', rf'Along K, .* from [+-]0\.0\d+ to \+{_MUCH}'),
    ('embedding_conversion', 'mean',
     rf'best pooling is mean; .* minus the adapted weights: ROC-AUC \+{_MUCH}'),
    ('entity_types', 'both',
     rf'Users and videos adapted, minus users alone: ROC-AUC \+{_MUCH}'),
    ('meta_blocks', 'deep_sets',
     rf'The best, deep_sets, minus mlp: ROC-AUC \+{_MUCH}'),
    ('refresh', 'fresh',
     rf'7 days old instead of fresh: ROC-AUC -{_MUCH}.*'
     rf'every week instead of every day: ROC-AUC -{_MUCH}'),
    ('refresh', 'every week',
     rf'every week instead of every day: ROC-AUC \+{_MUCH}'),
    ('sensitivity', r'K=2, 8, 0\.001',
     rf'the best is K=2, 8, 0\.001\. The configured .*: ROC-AUC -{_MUCH}'),
    ('support_size', 'limaml',
     rf'Against global the gain is above 0 in every .*\+{_MUCH}\d+ at 21'),
    ('support_size', 'wide_deep_id', 'Against wide_deep_id no gain is sure'),
    ('transfer', 'limaml, gap 6 d',
     rf'minus LiMAML retrained: ROC-AUC \+{_MUCH}'),
    ('transfer', 'limaml, gap 0 d',
     rf'minus LiMAML retrained: ROC-AUC -{_MUCH}'),
)  # fmt: skip


def make_scores(label, seed, signal=0.0):
  """Returns 400 rows; scores differ by label and seed, rows do not.

  Args:
    label: of the run.
    seed: of the run.
    signal: how much of the score is the row's label; none when left out.
  """
  rng = np.random.default_rng(0)
  size = 400
  entity = np.sort(rng.integers(_NUM_ENTITIES, size=size))
  day, labels = rng.integers(2, size=size), rng.integers(2, size=size)
  noise = np.random.default_rng([seed, *label.encode()]).random(size)
  return scores_lib.Scores(
      entity=entity,
      day=day,
      label=labels.astype(np.float32),
      score=(noise + signal * labels) / (1 + signal),
      support_size=rng.integers(0, 30, size),
      age_seconds=np.full(size, 5),
      status=np.zeros(size, np.uint8),
  )


def make_results(study, config, *, failed=(), strong=''):
  """Returns results, and outcomes; runs that match `strong` know labels."""
  outcomes = {}
  for run in study.runs(config):
    outcomes[run.label] = [
        run_lib.Outcome(run, seed, f'{run.label} {seed}', None, {}, 'broken')
        if run.label in failed
        else run_lib.Outcome(
            run, seed, f'{run.label} {seed}',
            make_scores(
                run.label, seed,
                0.8 if strong and re.fullmatch(strong, run.label) else 0.0,
            ),
            _FACTS,
        )
        for seed in (0, 1)
    ]
  num_train = np.arange(_NUM_ENTITIES) % 2
  data = types.SimpleNamespace(
      table=types.SimpleNamespace(num_train=num_train),
      info=types.SimpleNamespace(protocol='by hand'),
  )
  return results_lib.Results(config, outcomes, lambda run: data), outcomes


def load(name, data='kuairand'):
  study = importlib.import_module(f'experiments.studies.{name}')
  settings = settings_lib.load(data, {})
  return study, settings.resolve(run_lib.Run(''))


class StudyTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.enter_context(
        mock.patch.object(statistics, '_NUM_REPLICATES', 5)
    )
    # Of made-up rows; study_entity_types_test.py has those of a log.
    history = np.arange(400) % 150
    self.enter_context(
        mock.patch.object(
            results_lib.Results, 'item_history', lambda self, label: history
        )
    )

  @parameterized.parameters(*_NAMES)
  def test_page_has_an_answer_tables_and_drawings(self, name):
    study, config = load(name)
    results, _ = make_results(study, config)
    page = study.page(results)
    self.assertEndsWith(page.answer, '.')
    self.assertNotEmpty(page.tables)
    self.assertNotEmpty(page.figures)
    for table in page.tables:
      self.assertNotEmpty(table.rows)
      for row in table.rows:
        self.assertLen(row, len(table.headers), msg=table.title)
    names = [figure.name for figure in page.figures]
    self.assertLen(set(names), len(names))
    for figure in page.figures:
      xml.etree.ElementTree.fromstring(figure.svg)
      self.assertNotIn('$', figure.svg)  # Mathematics that nobody sets.

  @parameterized.parameters(*_ANSWERS)
  def test_answer_says_which_run_is_better(self, name, strong, answer):
    study, config = load(name)
    results, _ = make_results(study, config, strong=strong)
    self.assertRegex(study.page(results).answer, answer)

  @parameterized.parameters(*_NAMES)
  def test_every_failed_run_leaves_a_page_or_one_reason(self, name):
    study, config = load(name)
    runs = study.runs(config)
    for run in [*runs[:4], runs[-2]]:
      results, _ = make_results(study, config, failed=[run.label])
      try:
        page = study.page(results)
      except errors.InputError as error:
        self.assertIn('broken', str(error))
        continue
      self.assertEndsWith(page.answer, '.')
      self.assertNotEmpty(page.tables)
      for row in (row for table in page.tables for row in table.rows):
        self.assertNotIn('nan', ' '.join(row))
        if row[0] == run.label:
          self.assertContainsSubset(row[1:], ['failed', tables.UNDEFINED])

  @parameterized.parameters(*_NAMES)
  def test_carries_a_random_control_and_settings_that_exist(self, name):
    study, config = load(name)
    settings = settings_lib.load('kuairand', {})
    runs = study.runs(config)
    self.assertIn('random', [run.variant for run in runs])
    labels = [run.label for run in runs]
    self.assertLen(set(labels), len(labels))
    for run in runs:
      settings.resolve(run)
      if run.embeddings_of:
        settings.resolve(run.embeddings_of)

  def test_meta_blocks_tell_their_parameters(self):
    study, config = load('meta_blocks')
    results, _ = make_results(study, config)
    table = study.page(results).tables[0]
    column = table.headers.index('parameters')
    self.assertEqual([row[column] for row in table.rows], ['20,000'] * 5)

  @parameterized.parameters(
      ('kuairand', 4.0, 0.5), ('kuairand_rates', 4.0, 0.5), ('ml100k', 6.0, 0.5)
  )
  def test_meta_blocks_have_the_rate_of_their_sort(self, data, mlp, deep_sets):
    study, config = load('meta_blocks', data)
    rates = {
        run.label: run.settings.get('inner_loop.learning_rate')
        for run in study.runs(config)
    }
    self.assertEqual(rates['mlp'], mlp)
    self.assertEqual(rates['id_embedding'], mlp)
    self.assertEqual(rates['deep_sets'], deep_sets)
    self.assertEqual(rates['transformer'], deep_sets)

  @parameterized.parameters(
      ({}, 'train_end', '2022-05-02'),
      (_VALIDATION, 'validation_start', '2022-04-30'),
  )
  def test_an_earlier_network_ends_before_what_is_tested(
      self, given, name, day
  ):
    config = settings_lib.load('kuairand', given).resolve(run_lib.Run(''))
    run = standard.trained_earlier(config, 2)
    self.assertEqual(
        run.settings, {f'protocol.{name}': f'{day}T00:00:00+08:00'}
    )
    self.assertEqual(run.options, {'skip': 2})

  @parameterized.parameters(
      # Five days, and two, are tested.
      ({}, [6, 24, 48, 168]),
      (_VALIDATION, [6, 24, 48]),
      # What the protocol does itself is one refresh.
      ({'protocol.refresh_hours': 168}, [6, 24, 48, 168]),
      ({'protocol.refresh_hours': 200}, [6, 24, 48, 200]),
      ({'protocol.refresh_hours': 0}, [6, 24, 48]),
  )
  def test_intervals_past_the_window_are_one(self, given, expected):
    config = settings_lib.load('kuairand', given).resolve(run_lib.Run(''))
    hours = [6, 24, 48, 168, 200]
    self.assertEqual(standard.distinct_intervals(config, hours), expected)

  @parameterized.parameters('cost', 'refresh')
  def test_studies_refresh_once_at_most_once(self, name):
    study = importlib.import_module(f'experiments.studies.{name}')
    config = settings_lib.load('kuairand', _VALIDATION).resolve(run_lib.Run(''))
    hours = [run.options.get('hours', 0) for run in study.runs(config)]
    self.assertLess(sum(n >= 48 for n in hours), 2)

  @parameterized.parameters('refresh', 'transfer')
  def test_moving_cutoffs_needs_common_ones(self, name):
    study, config = load(name, 'ml100k')
    with self.assertRaisesRegex(errors.InputError, 'by_time'):
      study.runs(config)

  def test_markdown_has_the_command_under_every_table(self):
    table = page_lib.Table('t', ['Run', 'x'], [['a|b', '1\n2']])._asdict()
    other = table | {'protocol': 'another protocol'}
    study = {
        'title': 'T', 'question': 'Q?', 'refused': [], 'answer': 'A.',
        'tables': [table, other], 'failed': {'late': 'broke'},
        'command': 'python -m this', 'seeds': [0, 1], 'dataset': 'd',
        'protocol': 'p', 'window': 'Validation window: w.',
    }  # fmt: skip
    text = page_lib.markdown(study)
    self.assertEqual(text.count('python -m this'), 2)
    self.assertEqual(text.count('Validation window: w.'), 2)
    self.assertEqual(text.count('d, another protocol.'), 1)
    self.assertIn(r'| `a\|b` | 1<br>2 |', text)
    self.assertIn('- failed: late: broke', text)


if __name__ == '__main__':
  absltest.main()

"""Tests for summaries, their means over seeds, and their tables."""

import io
import json

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from rich import console as rich_console

from limaml_jax import errors
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib
from limaml_jax.evaluation import tables

# Two cold entities (cohort '0'), two of 3 events (cohort '1-5'), one of 30
# with positives only (cohort '21+'), none in cohort '6-20'.
ENTITY = np.array([1, 1, 2, 2, 3, 3, 4, 4, 5])
SUPPORT_SIZE = np.array([0, 0, 0, 0, 3, 3, 3, 3, 30])
LABEL = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1], np.float32)


def make_scores(score):
  zeros = np.zeros(ENTITY.size, np.int64)
  return scores_lib.Scores(
      entity=ENTITY,
      day=zeros,
      label=LABEL,
      score=np.asarray(score),
      support_size=SUPPORT_SIZE,
      age_seconds=zeros,
      status=zeros.astype(np.uint8),
  )


# Right on the cold entities, wrong on those of 3 events.
FIRST = make_scores([0.2, 0.7, 0.2, 0.7, 0.7, 0.2, 0.7, 0.2, 0.7])
# Tied everywhere.
SECOND = make_scores([0.5] * 9)


def make_variant(roc_auc, *, num_rows=4, cold=None, loss=0.5):
  cohorts = {
      name: {'num_rows': 0, 'roc_auc': None} for name in ('1-5', '6-20', '21+')
  }
  return {
      'roc_auc': roc_auc,
      'gauc': 0.25,
      'gauc_by_refresh': 0.25,
      'normalized_entropy': loss,
      'log_loss': loss,
      'calibration': 1.0,
      'num_rows': num_rows,
      'intervals': {'roc_auc': [roc_auc - 0.5, roc_auc + 0.25], 'gauc': None},
      'cohorts': {'0': {'num_rows': num_rows, 'roc_auc': cold}, **cohorts},
  }


def make_summary(variants, differences=None):
  return {
      'dataset': 'toy',
      'num_interactions': 9,
      'num_entities': 5,
      'protocol': 'by hand',
      'seeds': [0],
      'variants': variants,
      'differences': differences or {},
      'seconds': {'train': 1.0},
  }


class SummarizeTest(absltest.TestCase):

  def test_cohorts_are_apart(self):
    cohorts = summary_lib.summarize(FIRST, np.random.default_rng(0))['cohorts']
    self.assertEqual(
        cohorts,
        {
            '0': {'num_rows': 4, 'roc_auc': 1.0},
            '1-5': {'num_rows': 4, 'roc_auc': 0.0},
            '6-20': {'num_rows': 0, 'roc_auc': None},
            '21+': {'num_rows': 1, 'roc_auc': None},
        },
    )

  def test_headline(self):
    summary = summary_lib.summarize(FIRST, np.random.default_rng(0))
    self.assertEqual(summary['num_rows'], 9)
    # Positives .7 .7 .2 .2 .7, negatives .2 .2 .7 .7: each .7 beats two and
    # ties with two, 3 wins; each .2 ties with two, 1 win; 11 of 20.
    self.assertAlmostEqual(summary['roc_auc'], 11 / 20)
    self.assertAlmostEqual(summary['gauc'], 0.5)
    # (5 * .7 + 4 * .2) / 5.
    self.assertAlmostEqual(summary['calibration'], 4.3 / 5)
    # -log(.7) on the wins and -log(.8); -log(.3) and -log(.2) on the losses.
    loss = -(3 * np.log(0.7) + 2 * np.log(0.8 * 0.3 * 0.2)) / 9
    self.assertAlmostEqual(summary['log_loss'], loss)
    low, high = summary['intervals']['roc_auc']
    self.assertBetween(summary['roc_auc'], low, high)

  def test_is_json(self):
    summary = summary_lib.summarize(FIRST, np.random.default_rng(0))
    text = json.dumps(summary, allow_nan=False)
    self.assertEqual(json.loads(text), summary)

  def test_difference_by_cohort(self):
    actual = summary_lib.difference(FIRST, SECOND, np.random.default_rng(0))
    self.assertAlmostEqual(actual['roc_auc'], 11 / 20 - 0.5)
    # Right against tied, wrong against tied, whatever is drawn.
    self.assertEqual(
        actual['cohorts'],
        {
            '0': {'roc_auc': 0.5, 'interval': [0.5, 0.5]},
            '1-5': {'roc_auc': -0.5, 'interval': [-0.5, -0.5]},
            '6-20': {'roc_auc': None, 'interval': None},
            '21+': {'roc_auc': None, 'interval': None},
        },
    )

  def test_difference_refuses_other_rows(self):
    other = SECOND._replace(day=SECOND.day + 1)
    with self.assertRaisesRegex(errors.InputError, 'day differs'):
      summary_lib.difference(FIRST, other, np.random.default_rng(0))


class MeanOverSeedsTest(absltest.TestCase):

  def test_averages_numbers_and_bounds(self):
    mean = summary_lib.mean_over_seeds(
        [make_variant(0.5, cold=0.25), make_variant(1.0, cold=0.75)]
    )
    self.assertEqual(mean['roc_auc'], 0.75)
    self.assertEqual(mean['intervals'], {'roc_auc': [0.25, 1.0], 'gauc': None})
    self.assertEqual(mean['cohorts']['0'], {'num_rows': 4, 'roc_auc': 0.5})
    self.assertEqual(
        mean['seeds'], {'roc_auc': [0.5, 1.0], 'gauc': [0.25, 0.25]}
    )

  def test_number_that_a_seed_lacks_is_undefined(self):
    mean = summary_lib.mean_over_seeds(
        [make_variant(0.5, cold=None), make_variant(0.5, cold=0.5)]
    )
    self.assertIsNone(mean['cohorts']['0']['roc_auc'])

  def test_averages_differences(self):
    parts = [
        summary_lib.difference(FIRST, SECOND, np.random.default_rng(seed))
        for seed in (0, 1)
    ]
    mean = summary_lib.mean_over_seeds(parts)
    self.assertEqual(mean['seeds'], {'roc_auc': [parts[0]['roc_auc']] * 2})
    low = (parts[0]['interval'][0] + parts[1]['interval'][0]) / 2
    self.assertAlmostEqual(mean['interval'][0], low)

  def test_refuses_different_rows(self):
    with self.assertRaisesRegex(ValueError, 'different rows'):
      summary_lib.mean_over_seeds(
          [make_variant(0.5), make_variant(0.5, num_rows=5)]
      )

  def test_refuses_nothing(self):
    with self.assertRaisesRegex(ValueError, 'no summary'):
      summary_lib.mean_over_seeds([])


class TablesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.summary = make_summary({
        'user_bias': make_variant(0.9, loss=0.1),
        'global': make_variant(0.6, loss=0.3),
        'limaml': make_variant(0.7, loss=0.4),
    })

  def test_best_network_is_bold_even_below_a_baseline(self):
    lines = tables.markdown_table(self.summary).splitlines()
    cells = [line.split(' | ') for line in lines]
    self.assertEqual([row[1] for row in cells[2:]],
                     ['0.9000', '0.6000', '**0.7000**'])

  def test_lowest_loss_is_best(self):
    layout = tables.layout(self.summary)
    column = layout.headers.index('Log loss')
    self.assertEqual([row[column].best for row in layout.rows],
                     [False, True, False])

  def test_undefined_is_a_dash_and_never_best(self):
    layout = tables.layout(self.summary)
    column = [h.startswith('6-20') for h in layout.headers].index(True)
    for row in layout.rows:
      self.assertEqual(row[column], tables.Cell('-', best=False))

  def test_header_counts_the_rows_of_a_cohort(self):
    variants = {'limaml': make_variant(0.5, num_rows=1234)}
    headers = tables.layout(make_summary(variants)).headers
    self.assertIn('0 events\n1,234 rows', headers)

  def test_refuses_variants_of_different_rows(self):
    self.summary['variants']['global'] = make_variant(0.6, num_rows=5)
    with self.assertRaisesRegex(ValueError, 'cohort 0 differs'):
      tables.layout(self.summary)

  def test_terminal_shows_every_number(self):
    self.summary['differences'] = {
        'limaml - global': {
            'roc_auc': 0.1, 'interval': [-0.05, 0.25], 'cohorts': {},
        },
        'limaml - [red]': {'roc_auc': None, 'interval': None, 'cohorts': {}},
    }
    file = io.StringIO()
    console = rich_console.Console(file=file, width=200)
    console.print(tables.table(self.summary))
    for text in (
        '0.6000',
        'limaml - global: ROC-AUC +0.1000, 95 % interval [-0.0500, +0.2500]',
        'limaml - [red]: ROC-AUC undefined',
    ):
      self.assertIn(text, file.getvalue())


if __name__ == '__main__':
  absltest.main()

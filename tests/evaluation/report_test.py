"""Tests for the report: whole, self-contained, escaped, reproducible."""

from html import parser as html_parser
import pathlib
import re
import unittest.mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.evaluation import calibration
from limaml_jax.evaluation import drawing
from limaml_jax.evaluation import report
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib

HOSTILE = '<script>alert("$x_1$")</script>'


def make_scores(num_days, seed=0):
  rng = np.random.default_rng(seed)
  size = 300
  score = rng.random(size)
  return scores_lib.Scores(
      entity=rng.integers(20, size=size),
      day=rng.integers(num_days, size=size),
      label=(rng.random(size) < score).astype(np.float32),
      score=score,
      support_size=rng.integers(30, size=size),
      age_seconds=np.zeros(size, np.int64),
      status=np.zeros(size, np.uint8),
  )


def make_report(*, num_days=2, extra_variant='global'):
  """Returns the arguments of `write_report` after the path."""
  rng = np.random.default_rng(0)
  rows = make_scores(num_days)
  names = ('limaml', 'unadapted', extra_variant)
  summary = {
      'dataset': 'toy',
      'num_interactions': 1000,
      'num_entities': 20,
      'protocol': 'by hand',
      'seeds': [3, 4],
      'variants': {name: summary_lib.summarize(rows, rng) for name in names},
      'differences': {
          'limaml - unadapted': summary_lib.difference(rows, rows, rng)
      },
      'seconds': {'prepare': 1.5, 'train': 20.0},
      'command': f'make {extra_variant}',
  }
  records = [{'step': i, 'wall_s': 0.1 * i, 'meta_loss': 0.7} for i in (5, 10)]
  curves = {'limaml': records, extra_variant: records}
  return summary, curves, dict.fromkeys(names, rows)


class Elements(html_parser.HTMLParser):
  """Collects tags, ids and every address that a browser would load."""

  def __init__(self, page):
    super().__init__()
    self.tags, self.ids, self.addresses = [], [], []
    self.feed(page)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    for name, value in attrs:
      if name == 'id':
        self.ids.append(value)
      if name in ('src', 'href', 'xlink:href', 'data', 'action'):
        self.addresses.append(value)


class ReportTest(parameterized.TestCase):

  def test_needs_nothing_beside_it(self):
    page = report.render_report(*make_report())
    elements = Elements(page)
    self.assertNotEmpty(elements.addresses)
    for address in elements.addresses:
      self.assertStartsWith(address, '#')
    for tag in ('script', 'link', 'img', 'iframe'):
      self.assertNotIn(tag, elements.tags)
    self.assertNotRegex(page, r'url\((?!#)|@import')

  def test_ids_are_unique_and_references_resolve(self):
    page = report.render_report(*make_report())
    ids = Elements(page).ids
    self.assertCountEqual(ids, set(ids))
    references = re.findall(r'(?:url\(|href=")#([^)"]+)', page)
    self.assertNotEmpty(references)
    self.assertEmpty(set(references) - set(ids))

  @parameterized.named_parameters(('one_day', 1, 5), ('several_days', 2, 6))
  def test_number_of_figures(self, num_days, expected):
    page = report.render_report(*make_report(num_days=num_days))
    self.assertEqual(Elements(page).tags.count('svg'), expected)

  def test_text_is_escaped(self):
    page = report.render_report(*make_report(extra_variant=HOSTILE))
    self.assertNotIn('<script', page)
    # Table, command, and legend each spell it out.
    self.assertGreaterEqual(page.count('&lt;script&gt;'), 3)
    self.assertRegex(page, r'\$x_1\$[^<]*</text>')  # Not as mathematics.

  def test_same_numbers_give_same_bytes(self):
    first, second = (report.render_report(*make_report()) for _ in range(2))
    self.assertEqual(first, second)
    self.assertNotIn('<metadata', first)

  def test_text_takes_the_colour_of_the_page(self):
    page = report.render_report(*make_report())
    self.assertIn('currentColor', page)
    self.assertNotIn(drawing.TEXT, page)

  def test_says_seeds_and_command(self):
    page = report.render_report(*make_report())
    self.assertIn('Mean over seeds 3, 4', page)
    self.assertIn('<code>make global</code>', page)

  def test_draws_only_what_is_there(self):
    summary, _, _ = make_report()
    summary['differences'] = {}
    page = report.render_report(summary, {}, {})
    self.assertEqual(Elements(page).tags.count('svg'), 2)

  def test_variant_without_rows_is_left_out(self):
    summary, _, _ = make_report()
    page = report.render_report(
        summary, {}, {'limaml': scores_lib.concatenate([])}
    )
    self.assertNotIn('Calibration</h2>', page)

  def test_curve_of_a_variant_not_scored_is_drawn(self):
    summary, curves, scores_by_variant = make_report()
    curves = {'pretraining': curves['limaml']}
    page = report.render_report(summary, curves, scores_by_variant)
    self.assertIn('pretraining</text>', page)

  def test_interrupted_writing_keeps_the_old_page(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    path = directory / 'report.html'
    path.write_text('old')
    with unittest.mock.patch.object(report.os, 'replace', side_effect=OSError):
      with self.assertRaises(OSError):
        report.write_report(path, *make_report())
    self.assertEqual(path.read_text(), 'old')
    self.assertEqual(list(directory.iterdir()), [path])

  def test_writes_what_it_renders(self):
    path = pathlib.Path(self.create_tempdir().full_path) / 'report.html'
    report.write_report(path, *make_report())
    self.assertEqual(
        path.read_text(encoding='utf-8'), report.render_report(*make_report())
    )


class CalibrationCurveTest(absltest.TestCase):

  def test_closed_form(self):
    curve = calibration.calibration_curve(
        np.array([0.9, 0.1, 0.3, 0.7]), np.array([1, 0, 1, 1]), num_bins=2
    )
    np.testing.assert_allclose(curve.predicted, [0.2, 0.8])
    np.testing.assert_allclose(curve.observed, [0.5, 1.0])
    np.testing.assert_array_equal(curve.num_rows, [2, 2])

  def test_fewer_rows_than_bins(self):
    curve = calibration.calibration_curve(np.array([0.5]), np.array([1]))
    np.testing.assert_array_equal(curve.num_rows, [1])


class SmoothTest(absltest.TestCase):

  def test_averages_neighbours(self):
    # 130 records, windows of 2: steps 0.5, 2.5 ...; the values are constant
    # inside a window.
    steps, values = drawing.smooth(np.arange(130), np.arange(130) // 2)
    np.testing.assert_array_equal(steps, np.arange(65) * 2 + 0.5)
    np.testing.assert_array_equal(values, np.arange(65))

  def test_short_curve_is_untouched(self):
    steps, values = drawing.smooth(np.arange(5), np.array([3, 1, 4, 1, 5]))
    np.testing.assert_array_equal(steps, np.arange(5))
    np.testing.assert_array_equal(values, [3, 1, 4, 1, 5])


if __name__ == '__main__':
  absltest.main()

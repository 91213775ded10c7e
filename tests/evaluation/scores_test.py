"""Tests for the file of scored rows."""

import pathlib
import unittest.mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from limaml_jax import errors
from limaml_jax.evaluation import scores as scores_lib


def make_scores(**columns):
  return scores_lib.Scores(**{
      'entity': np.array([3, 3, 8], np.int64),
      'day': np.array([0, 1, 1], np.int64),
      'label': np.array([0, 1, 1], np.float32),
      'score': np.array([0.25, 0.5, 1.0 / 3.0]),
      'support_size': np.array([4, 5, 0], np.int64),
      'age_seconds': np.array([60, 0, -1], np.int64),
      'status': np.array([0, 0, 2], np.uint8),
      **columns,
  })


class ScoresFileTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.create_tempdir().full_path)
    self.path = self.directory / 'limaml.parquet'

  def assert_same(self, actual, expected):
    for name, a, b in zip(actual._fields, actual, expected, strict=True):
      self.assertEqual(a.dtype, b.dtype, name)
      np.testing.assert_array_equal(a, b, name)

  def test_reads_what_was_written(self):
    scores_lib.write(self.path, make_scores())
    self.assert_same(scores_lib.read(self.path), make_scores())

  def test_leaves_nothing_but_the_file(self):
    scores_lib.write(self.path, make_scores())
    self.assertEqual(list(self.directory.iterdir()), [self.path])

  def test_refusal_keeps_the_old_file(self):
    scores_lib.write(self.path, make_scores())
    bad = make_scores(score=np.array([0.25, np.nan, 0.5]))
    with self.assertRaisesRegex(errors.InputError, 'row 1: score is nan'):
      scores_lib.write(self.path, bad)
    self.assert_same(scores_lib.read(self.path), make_scores())

  def test_interrupted_writing_keeps_the_old_file(self):
    scores_lib.write(self.path, make_scores())
    with unittest.mock.patch.object(
        scores_lib.os, 'replace', side_effect=OSError
    ):
      with self.assertRaises(OSError):
        scores_lib.write(self.path, make_scores(day=np.array([2, 2, 2])))
    self.assert_same(scores_lib.read(self.path), make_scores())
    self.assertEqual(list(self.directory.iterdir()), [self.path])

  def test_concatenates_in_order(self):
    parts = [make_scores(), make_scores(day=np.array([2, 2, 2]))]
    both = scores_lib.concatenate(parts)
    np.testing.assert_array_equal(both.day, [0, 1, 1, 2, 2, 2])
    self.assertEqual(both.status.dtype, np.uint8)

  def test_concatenation_of_nothing_has_no_rows(self):
    scores_lib.write(self.path, scores_lib.concatenate([]))
    self.assertEqual(scores_lib.read(self.path).score.shape, (0,))

  def test_selects_rows(self):
    rows = scores_lib.select(make_scores(), np.array([True, False, True]))
    np.testing.assert_array_equal(rows.entity, [3, 8])
    np.testing.assert_array_equal(rows.age_seconds, [60, -1])

  def test_torn_file_is_named(self):
    scores_lib.write(self.path, make_scores())
    self.path.write_bytes(self.path.read_bytes()[:-20])
    with self.assertRaisesRegex(
        errors.InputError, r'limaml\.parquet: not a whole Parquet file'
    ):
      scores_lib.read(self.path)

  def test_absent_file_is_named(self):
    with self.assertRaisesRegex(
        errors.InputError, r'limaml\.parquet: no scores here'
    ):
      scores_lib.read(self.path)

  @parameterized.named_parameters(
      ('renamed', lambda t: t.rename_columns(['user', *t.column_names[1:]])),
      ('missing', lambda t: t.drop_columns(['status'])),
      ('retyped', lambda t: t.set_column(0, 'entity', pa.array(['a'] * 3))),
  )
  def test_other_columns_are_refused(self, change):
    scores_lib.write(self.path, make_scores())
    parquet.write_table(change(parquet.read_table(self.path)), self.path)
    with self.assertRaisesRegex(
        errors.InputError, r'limaml\.parquet: columns are .*; scores have'
    ):
      scores_lib.read(self.path)

  def test_empty_values_are_refused(self):
    scores_lib.write(self.path, make_scores())
    table = parquet.read_table(self.path)
    column = pa.array([0.5, None, 0.5], pa.float64())
    parquet.write_table(table.set_column(3, 'score', column), self.path)
    with self.assertRaisesRegex(errors.InputError, 'score has 1 empty values'):
      scores_lib.read(self.path)

  @parameterized.named_parameters(
      ('score', 'score', [0.5, 1.5, 0.5], 'row 1: score is 1.5'),
      ('label', 'label', [0, 1, 5], 'row 2: label is 5.0'),
      ('entity', 'entity', [-1, 0, 0], 'row 0: entity is -1'),
      ('day', 'day', [0, -1, 0], 'row 1: day is -1'),
      ('support', 'support_size', [0, 0, -4], 'row 2: support_size is -4'),
      ('age', 'age_seconds', [-2, 0, 0], 'row 0: age_seconds is -2'),
      ('short', 'entity', [1], 'columns differ in length'),
  )
  def test_impossible_values_are_refused(self, name, values, message):
    with self.assertRaisesRegex(errors.InputError, message):
      scores_lib.write(self.path, make_scores(**{name: np.array(values)}))


if __name__ == '__main__':
  absltest.main()

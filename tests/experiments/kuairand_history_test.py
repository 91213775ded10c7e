import csv
import gzip
import pathlib

from absl.testing import absltest
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.experiments import commands

_DAY_MS = 86_400_000


class KuairandHistoryTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)
    (self.root / 'raw').mkdir()

  def write_raw(self):
    """Writes three users: of many videos, of an empty list, in no history.

    And two videos: shown once and watched for long, in no history.
    """
    users = self.root / 'raw' / 'user_features_pure.csv.gz'
    with gzip.open(users, 'wt', newline='') as file:
      csv.writer(file).writerows(
          [['user_id', 'degree'], [7, 'full'], [3, 'high'], [5, 'low']]
      )
    videos = self.root / 'raw' / 'video_features_basic_pure.csv.gz'
    with gzip.open(videos, 'wt', newline='') as file:
      csv.writer(file).writerows(
          [['video_id', 'author_id'], [99, 4], [12, 8]]
      )
    history = {
        'user_id': [3, 7],
        'watch_seq': [[11, 12, 13, 14], []],
        'long_watch_seq': [[12], []],
        'like_seq': [[11, 14], []],
        'history_len': [90, 0],
        'last_time_ms': [10 * _DAY_MS, 12 * _DAY_MS],
    }
    lists = pa.list_(pa.int64())
    types = [pa.int64(), lists, lists, lists, pa.int64(), pa.int64()]
    table = pa.table(history, pa.schema(zip(history, types, strict=True)))
    path = self.root / 'raw' / 'user_sequences_before_20220425.parquet'
    pq.write_table(table, path)

  def run_binary(self):
    return commands.run(
        'kuairand_history',
        f'--data_dir={self.root / "raw"}',
        f'--output={self.root / "out"}',
    )

  def test_counts_what_was_before_the_log(self):
    self.write_raw()
    result = self.run_binary()
    self.assertEqual(result.returncode, 0, result.stderr)
    path = self.root / 'out' / 'user_features_with_history.parquet'
    columns = pq.read_table(path).to_pydict()
    self.assertEqual(
        columns,
        {
            'user_id': [3, 5, 7],
            'degree': ['high', 'low', 'full'],
            'history_shown': [4, None, 0],
            # None of nothing: a share that is not a number would be refused.
            'history_long_views': [0.25, None, None],
            'history_likes': [2, None, 0],
            'history_length': [90, None, 0],
            'history_days_since': [2.0, None, 0.0],
        },
    )
    link = self.root / 'out' / 'user_features_pure.csv.gz'
    self.assertTrue(link.is_symlink())
    self.assertTrue(link.is_file())

  def test_counts_what_became_of_videos(self):
    self.write_raw()
    result = self.run_binary()
    self.assertEqual(result.returncode, 0, result.stderr)
    path = self.root / 'out' / 'video_features_with_history.parquet'
    columns = pq.read_table(path).to_pydict()
    # One of four shown was watched for long, two were liked; 20 more of those.
    self.assertEqual(columns['video_id'], [12, 99])
    self.assertEqual(columns['author_id'], [8, 4])
    self.assertEqual(columns['video_history_shown'], [1, 0])
    np.testing.assert_allclose(
        columns['video_history_long_views'], [6 / 21, 0.25]
    )
    np.testing.assert_allclose(columns['video_history_likes'], [10 / 21, 0.5])

  def test_links_follow_another_folder(self):
    self.write_raw()
    self.assertEqual(self.run_binary().returncode, 0)
    (self.root / 'raw').rename(self.root / 'moved')
    (self.root / 'raw').mkdir()
    self.write_raw()
    other = self.root / 'moved'
    result = commands.run(
        'kuairand_history', f'--data_dir={other}',
        f'--output={self.root / "out"}',
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    link = self.root / 'out' / 'user_features_pure.csv.gz'
    self.assertEqual(link.resolve().parent, other.resolve())

  def test_missing_files_are_one_line(self):
    result = self.run_binary()
    self.assertEqual(result.returncode, 1)
    self.assertLen(result.stderr.strip().splitlines(), 1)
    self.assertIn('user_features_pure.csv.gz: no such file', result.stderr)

  def test_torn_files_are_one_line_and_leave_the_table_before(self):
    self.write_raw()
    self.assertEqual(self.run_binary().returncode, 0)
    made = self.root / 'out' / 'user_features_with_history.parquet'
    before = made.read_bytes()
    torn = self.root / 'raw' / 'user_sequences_before_20220425.parquet'
    torn.write_bytes(torn.read_bytes()[:-20])
    result = self.run_binary()
    self.assertEqual(result.returncode, 1)
    self.assertLen(result.stderr.strip().splitlines(), 1)
    self.assertIn(torn.name, result.stderr)
    self.assertEqual(made.read_bytes(), before)


if __name__ == '__main__':
  absltest.main()

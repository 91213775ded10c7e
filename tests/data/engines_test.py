"""DuckDB and Spark make the same dataset, whatever the order of the files."""

import importlib.util
import pathlib
import random
import shutil
import subprocess
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import prepare
from limaml_jax.data.tasks import event_runs

CLUSTER = 'local-cluster[2,1,1024]'  # Two processes, a core each.
START = 1_000_000_000
SCHEMA = """
name = "both"

[interactions]
files = ["log-*.parquet"]
format = "parquet"
item = "movie"
timestamp = "time"
timestamp_unit = "iso"
timestamp_zone = "Europe/Berlin"
label = "rating >= 4"
target = "(rating - 1) / 4"
weight = "1 + rating // 2"
duplicates = "DUPLICATES"
outcomes = ["rating"]

[entities.user]
key = "user"

[entities.user.side_table]
files = ["users.csv"]
format = "csv"
key = "id"
valid_from = "since"
valid_from_unit = "s"

[item.side_table]
files = ["movies.parquet"]
format = "parquet"
key = "movie"

[[features]]
name = "city"
owner = "entity"
kind = "categorical"
role = "meta"
column = "city"

[[features]]
name = "genres"
owner = "item"
kind = "multi_hot"
role = "global"
column = "genres"
max_values = 2

[[features]]
name = "tags"
owner = "context"
kind = "multi_hot"
role = "global"
column = "tags"
max_values = 3

[[features]]
name = "dwell"
owner = "context"
kind = "numeric"
role = "global"
column = "dwell"
fill = 1.5
transform = "log1p"
maximum = 99

[[features]]
name = "hour"
owner = "context"
kind = "categorical"
role = "both"
expression = "minute // 60 % 24"

[[features]]
name = "place"
owner = "context"
kind = "categorical"
role = "global"
expression = "coalesce(lower(place), 'nowhere')"

[[features]]
name = "rate"
kind = "past_rate"
role = "global"
of = ["movie"]
prior_rows = 0.3

[[features]]
name = "city_rate"
kind = "past_rate"
role = "both"
of = ["city", "genres"]

[[features]]
name = "count"
kind = "past_count"
role = "global"
of = ["user", "minute"]

[[features]]
name = "recent_rate"
kind = "past_rate"
role = "global"
of = ["user"]
window_hours = 0.05
num_buckets = 5

[[features]]
name = "recent_count"
kind = "past_count"
role = "global"
of = ["city"]
window_hours = 0.1

[[features]]
name = "since"
kind = "past_age"
role = "global"
of = ["user", "genres"]
"""


def no_spark():
  """Says why Spark cannot be started here, if so."""
  if not importlib.util.find_spec('pyspark'):
    return 'pyspark is not installed'
  if not shutil.which('java'):
    return 'there is no Java'
  version = subprocess.run(
      ['java', '-version'], capture_output=True, check=False, text=True
  )
  return '' if version.returncode == 0 else 'Java does not run'


def make_events(number):
  """Returns rows with ties, repeated events, empty cells and accents."""
  rng = random.Random(0)
  for n in range(number):
    # Many are alike in entity, item and time, and differ in the rest.
    second = rng.randrange(3000) if n % 4 else 7
    yield {
        'user': rng.choice(['ann', 'Bob', 'bob', 'Ümit', 'zoë', '10', '9']),
        'movie': rng.randrange(12),
        # Sometimes with a zone, sometimes in that of the schema.
        'time': f'2001-09-09 {second // 3600 + 3:02}:'
        f'{second // 60 % 60:02}:{second % 60:02}' + '+00' * (n % 3 == 0),
        'rating': rng.choice([1, 2, 3, 4, 5, 5]),
        'tags': rng.choice([None, [], ['a'], ['b c', 'a'], ['é', 'a', 'b']]),
        'dwell': rng.choice([None, 0.1, 7.25, 1e-3, 98.5]),
        'minute': rng.randrange(3000),
        'place': rng.choice([None, 'Home', 'ÉTÉ', '']),
    }
  # Rejected: the first for its time, the other for a number out of its range.
  good = {'user': 'ann', 'movie': 1, 'rating': 4, 'tags': [], 'minute': 3}
  yield good | {'time': 'noon', 'dwell': 1.0, 'place': None}
  yield good | {'time': '2001-09-09 03:00:00', 'dwell': 100.0, 'place': None}


class Files:
  """A log in several files, and its side tables."""

  def __init__(self, root, *, duplicates='first', num_events=600):
    self.root = pathlib.Path(root)
    self.schema = self.root / 'schema.toml'
    self.schema.write_text(SCHEMA.replace('DUPLICATES', duplicates))
    self.events = list(make_events(num_events))
    self.write(self.events)
    cities = [
        f'{user},{city},{START + seconds}'
        for user in ('ann', 'bob', 'Ümit')
        for seconds, city in ((-9, 'Rome'), (900, 'Oslo'), (1800, 'Köln'))
    ]
    lines = ['id,city,since', *cities]
    (self.root / 'users.csv').write_text('\n'.join(lines) + '\n')
    genres = [['war'], ['love', 'war'], [], None]
    columns = {
        'movie': list(range(10)),
        'genres': pa.array(
            [genres[n % 4] for n in range(10)], pa.list_(pa.string())
        ),
    }
    pq.write_table(pa.table(columns), self.root / 'movies.parquet')

  def write(self, events, num_files=3):
    for path in self.root.glob('log-*.parquet'):
      path.unlink()
    for n in range(num_files):
      rows = pa.Table.from_pylist(events[n::num_files])
      pq.write_table(rows, self.root / f'log-{n}.parquet', row_group_size=50)

  def prepare(self, name, engine='duckdb', **data):
    return prepare.prepare(
        self.schema,
        self.root,
        self.root / name,
        data=config_lib.DataConfig(min_count=1, **data),
        protocol=config_lib.ProtocolConfig(),
        engine=engine,
        spark_master=CLUSTER,
    )

  def rejects(self, name):
    rows = pq.read_table(self.root / name / event_runs.REJECTS_FILE).to_pylist()
    return sorted(rows, key=lambda row: (row['file'], row['row']))


class ShuffledFilesTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 7)
  def test_order_of_rows_and_files_changes_nothing(self, num_files):
    files = Files(self.create_tempdir().full_path, duplicates='keep')
    expected = files.prepare('expected')
    random.Random(num_files).shuffle(files.events)
    files.write(files.events, num_files)
    found = files.prepare('shuffled')
    self.assertEqual(found.fingerprint, expected.fingerprint)
    self.assertEqual(found.num_interactions, 600)


class SparkTest(absltest.TestCase):

  @pytest.mark.slow
  def test_makes_the_same_dataset_as_duckdb(self):
    reason = no_spark()
    if reason:
      raise unittest.SkipTest(f'Spark was not tried: {reason}')
    files = Files(self.create_tempdir().full_path)
    settings = {'max_events_per_entity': 40}
    expected = files.prepare('duckdb', **settings)
    found = files.prepare('spark', 'spark', **settings)
    self.assertEqual(found, expected)  # The hash of all contents included.
    self.assertEqual(found.num_train, 7 * 40)  # Each has more than that.
    self.assertLen(files.rejects('spark'), 2)
    self.assertEqual(files.rejects('spark'), files.rejects('duckdb'))

  def test_reads_parquet_alone(self):
    if not importlib.util.find_spec('pyspark') or no_spark():
      raise unittest.SkipTest(f'Spark was not tried: {no_spark()}')
    files = Files(self.create_tempdir().full_path)
    text = files.schema.read_text()
    files.schema.write_text(
        text.replace(
            'files = ["log-*.parquet"]\nformat = "parquet"',
            'files = ["users.csv"]\nformat = "csv"',
        )
    )
    with self.assertRaisesRegex(errors.InputError, 'spark reads Parquet'):
      files.prepare('spark', 'spark')


class UnknownEngineTest(absltest.TestCase):

  def test_is_refused(self):
    files = Files(self.create_tempdir().full_path)
    with self.assertRaisesRegex(errors.InputError, '--engine=hive: is not one'):
      files.prepare('hive', 'hive')


if __name__ == '__main__':
  absltest.main()

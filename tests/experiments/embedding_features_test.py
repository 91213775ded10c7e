import csv
import pathlib
import shutil
import tempfile

from absl.testing import absltest
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments import pipeline
from experiments.embedding_features import side_table
from limaml_jax import errors
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import items
from limaml_jax.refresh import timeline
from tests.experiments import commands
from tests.experiments import films

_START = timeline.BEGINNING
_HOUR = 3600


def make_versions():
  """Returns three items at first, one of which changes."""
  return [
      timeline.Versions(
          _START,
          np.array(['01', 'b', 'd']),
          np.float32([[0.5, 1.0], [2.0, 3.0], [8.0, 9.0]]),
      ),
      timeline.Versions(
          _START + _HOUR, np.array(['b']), np.float32([[4.0, 5.0]])
      ),
  ]


class SideTableTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    self.columns = ['film_embedding_0', 'film_embedding_1']

  def join(self, *paths, key='id', separator=',', versions=None):
    """Adds versions to a table; returns the file that was written."""
    suffix = paths[0].suffix
    source = schema_lib.SideTable(
        (), suffix.removeprefix('.'), key, separator=separator
    )
    embeddings = self.dir / 'embeddings'
    side_table.write_embeddings(
        embeddings, versions or make_versions(), columns=self.columns
    )
    written = self.dir / f'written{suffix}'
    side_table.join(
        written,
        embeddings,
        side_table.Attributes(source, list(paths)),
        columns=self.columns,
        unknown=np.float32([-1.0, -2.0]),
    )
    return written

  def test_adds_each_version_to_text_as_it_is_spelled(self):
    path = self.dir / 'films.csv'
    # 01 is no number 1; c has no version, and d no attributes.
    path.write_text('id;title\nb;"A; B"\n01;007\nc;\n')
    with self.join(path, separator=';').open(newline='') as file:
      rows = list(csv.reader(file))
    self.assertEqual(
        rows,
        [
            ['id', 'title', 'embedding_from', *self.columns],
            ['b', 'A; B', str(_START), '2.0', '3.0'],
            ['01', '007', str(_START), '0.5', '1.0'],
            ['c', '', str(_START), '-1.0', '-2.0'],
            ['b', 'A; B', str(_START + _HOUR), '4.0', '5.0'],
        ],
    )

  def test_keeps_the_types_of_parquet(self):
    path = self.dir / 'films.parquet'
    pq.write_table(pa.table({'id': ['b'], 'tags': [['x', 'y']]}), path)
    rows = pq.read_table(self.join(path)).to_pylist()
    self.assertEqual([row['tags'] for row in rows], [['x', 'y']] * 2)
    self.assertEqual([row['film_embedding_1'] for row in rows], [3.0, 5.0])

  def test_a_whole_number_is_a_key_whatever_its_type(self):
    path = self.dir / 'films.parquet'
    pq.write_table(pa.table({'id': [7.0, None]}), path)
    versions = [
        timeline.Versions(_START, np.array(['7']), np.float32([[2.0, 3.0]]))
    ]
    rows = pq.read_table(self.join(path, versions=versions)).to_pylist()
    self.assertEqual([row['film_embedding_0'] for row in rows], [2.0, -1.0])

  def test_reads_the_columns_that_all_files_share(self):
    first, second = self.dir / 'first.csv', self.dir / 'second.csv'
    first.write_text('id,more\nb,1\n')
    second.write_text('id\n01\n')
    with self.join(first, second).open(newline='') as file:
      rows = list(csv.reader(file))
    self.assertEqual(rows[0][:2], ['id', 'embedding_from'])
    self.assertEqual([row[0] for row in rows[1:]], ['b', '01', 'b'])

  def test_refuses_a_column_that_is_there(self):
    path = self.dir / 'films.csv'
    path.write_text('id,Film_Embedding_1\nb,3\n')
    with self.assertRaisesRegex(errors.InputError, "Embedding_1' already"):
      self.join(path)

  def test_refuses_attributes_of_none_of_the_entities(self):
    path = self.dir / 'films.csv'
    path.write_text('id,title\nB,3\n')
    with self.assertRaisesRegex(errors.InputError, "of the entities by 'id'"):
      self.join(path)

  def test_refuses_a_torn_file(self):
    path = self.dir / 'films.parquet'
    pq.write_table(pa.table({'id': ['b'] * 99}), path)
    whole = bytearray(path.read_bytes())
    whole[4:40] = bytes(36)  # Behind the magic number: the first page.
    path.write_bytes(whole)
    with self.assertRaisesRegex(errors.InputError, 'films.parquet'):
      self.join(path)

  def test_refuses_embeddings_that_are_not_finite(self):
    vectors = np.float32([[1, np.nan]])
    bad = [timeline.Versions(_START, np.array(['b']), vectors)]
    with self.assertRaisesRegex(errors.InputError, 'not finite'):
      side_table.write_embeddings(self.dir / 'x', bad, columns=self.columns)


_BY_TIME = (
    '--config.protocol.split=by_time',
    '--config.protocol.new_entity_fraction=0',
    '--config.protocol.train_end=1997-11-20T20:00:00+00:00',
    '--config.protocol.test_end=1997-11-21T20:00:00+00:00',
    '--config.protocol.refresh_hours=4',
)


# Of users; nothing is known of films.
_BARE = """
name = "bare"

[interactions]
files = ["*.inter"]
format = "atomic"
item = "item_id"
timestamp = "timestamp"
timestamp_unit = "s"
label = "rating >= 4"
outcomes = ["rating"]

[entities.user]
key = "user_id"

[entities.user.side_table]
files = ["ml-100k.user"]
format = "atomic"
key = "user_id"

[[features]]
name = "age"
owner = "entity"
kind = "numeric"
role = "meta"
column = "age"
"""


class CommandTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    cls.raw = cls.dir / 'raw'
    # A day and a half from 1997-11-20T04:26:40.
    commands.write_log(cls.raw, gap_seconds=_HOUR)
    (cls.dir / 'films.toml').write_text(films.SCHEMA)
    flags = (
        f'--config.data.schema={cls.dir / "films.toml"}',
        '--config.data.task_entity=film',
    )
    cls.prepare('films', cls.raw, *flags)
    cls.succeed(
        'train', f'--data={cls.dir / "films"}', f'--workdir={cls.dir / "run"}',
        commands.CACHE, *commands.SMALL, *flags, *_BY_TIME,
        '--config.model.meta_block.kind=mlp',
        '--config.refresh.entities_per_chunk=64',
        '--config.episodes.num_support_buckets=1',
        '--config.inner_loop.num_steps=1',
    )  # fmt: skip
    cls.result = cls.join('ml100k', 'out')

  @classmethod
  def succeed(cls, verb, *flags):
    result = commands.run(verb, *flags)
    if result.returncode:
      raise AssertionError(result.stderr)
    return result

  @classmethod
  def prepare(cls, output, raw, *flags):
    cls.succeed(
        'prepare', f'--data_dir={raw}', f'--output={cls.dir / output}',
        *_BY_TIME, *flags,
    )  # fmt: skip

  @classmethod
  def join(cls, schema, output):
    return commands.run(
        'embedding_features', f'--data={cls.dir / "films"}',
        f'--workdir={cls.dir / "run"}', f'--schema={schema}',
        f'--data_dir={cls.raw}', f'--output={cls.dir / output}', commands.CACHE,
    )  # fmt: skip

  def test_an_event_reads_what_its_items_embedding_was_before(self):
    self.assertEqual(self.result.returncode, 0, self.result.stderr)
    self.assertIn('embeddings/film.csv', self.result.stdout)
    out = self.dir / 'out'
    schema = f'--config.data.schema={out / "schema.toml"}'
    self.prepare('tasks', out, schema)
    other = pipeline.load(self.dir / 'films')
    refresher = pipeline.restore(
        other, self.dir / 'run', store=self.dir / 'store'
    ).refresher
    data = pipeline.load(self.dir / 'tasks')
    names = [s.name for s in data.info.features if 'film_emb' in s.name]
    self.assertLen(names, 4)
    table = data.table
    read = np.stack([table.event_features[name] for name in names], axis=1)
    keys = self.item_keys(data)
    places = {key: n for n, key in enumerate(other.table.entity_keys)}
    # What has the time of a refresh is served by the one before it.
    starts = [timeline.BEGINNING, *timeline.cutoffs(other.info, other.table)]
    period = np.searchsorted(starts, table.timestamps, side='left') - 1
    self.assertGreater(len(set(period)), 5)
    checked = 0
    for number, start in enumerate(starts):
      vectors = {}
      for chunk in refresher.generate(refresher.plan(start)):
        vectors |= dict(zip(chunk.entities, chunk.vectors, strict=True))
      for event in np.flatnonzero((period == number) & (keys != '')):
        np.testing.assert_allclose(
            read[event], vectors[places[keys[event]]], rtol=1e-6
        )
        checked += 1
    self.assertGreater(checked, 0.9 * table.timestamps.size)

  def item_keys(self, data):
    """Returns the item of each event, '' where the vocabulary has it not."""
    keys, features = items.load_items(data.directory)
    index = features[data.info.item_feature]
    found = np.zeros(index.max() + 1, keys.dtype)
    found[index[index > 0]] = keys[index > 0]
    return found[data.table.event_features[data.info.item_feature]]

  def test_items_without_attributes_have_embeddings_all_the_same(self):
    schema = self.dir / 'bare.toml'
    schema.write_text(_BARE)
    result = self.join(schema, 'bare')
    self.assertEqual(result.returncode, 0, result.stderr)
    table = pq.read_table(self.dir / 'bare' / 'embeddings' / 'film.parquet')
    self.assertEqual(table.column_names[:2], ['item_id', 'embedding_from'])
    flag = f'--config.data.schema={self.dir / "bare" / "schema.toml"}'
    self.prepare('bare_tasks', self.dir / 'bare', flag)
    data = pipeline.load(self.dir / 'bare_tasks')
    read = data.table.event_features['film_embedding_0']
    self.assertTrue(np.isfinite(read).all())
    self.assertGreater(len(set(read.tolist())), 30)

  def test_refuses_a_feature_of_the_same_name(self):
    schema = self.dir / 'taken.toml'
    schema.write_text(_BARE.replace('"age"', '"Film_Embedding_2"', 1))
    result = self.join(schema, 'taken')
    self.assertEqual(result.returncode, 1)
    self.assertIn("feature 'film_embedding_2' already", result.stderr)

  def test_refuses_a_schema_whose_items_are_others(self):
    result = self.join(self.dir / 'films.toml', 'other')
    self.assertEqual(result.returncode, 1)
    self.assertIn("interactions.item is 'user_id'", result.stderr)
    self.assertFalse((self.dir / 'other').exists())

  def test_refuses_to_write_among_the_raw_files(self):
    result = self.join('ml100k', 'raw')
    self.assertEqual(result.returncode, 1)
    self.assertIn('choose another --output', result.stderr)

  def test_refuses_to_add_embeddings_twice(self):
    result = self.join(self.dir / 'out' / 'schema.toml', 'twice')
    self.assertEqual(result.returncode, 1)
    self.assertIn('attributes of items change already', result.stderr)


if __name__ == '__main__':
  absltest.main()

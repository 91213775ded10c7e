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

_START = 1_700_000_000
_HOUR = 3600


def make_versions():
  """Returns two items at first, one of which changes."""
  return iter([
      timeline.Versions(
          _START,
          np.array(['01', 'b']),
          np.float32([[0.5, 1.0], [2.0, 3.0]]),
      ),
      timeline.Versions(
          _START + _HOUR, np.array(['b']), np.float32([[4.0, 5.0]])
      ),
  ])


class SideTableTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)

  def write(self, path, attributes):
    return side_table.write(
        path,
        make_versions(),
        unknown=side_table.Unknown(_START, np.float32([-1.0, -2.0])),
        columns=side_table.columns('film', 2),
        key='film',
        attributes=attributes,
    )

  def test_adds_each_version_to_text_as_it_is_spelled(self):
    source = schema_lib.SideTable(('films.csv',), 'csv', 'id', separator=';')
    path = self.dir / 'films.csv'
    # 01 is no number 1; c has no version, and d no attributes.
    path.write_text('id;title\nb;"A; B"\n01;007\nc;\n')
    written = self.dir / 'written.csv'
    attributes = side_table.Attributes(source, [path])
    self.assertEqual(self.write(written, attributes), 4)
    with written.open(newline='') as file:
      rows = list(csv.reader(file))
    self.assertEqual(
        rows,
        [
            ['id', 'title', 'embedding_from', 'film_embedding_0',
             'film_embedding_1'],
            ['01', '007', str(_START), '0.5', '1.0'],
            ['b', 'A; B', str(_START), '2.0', '3.0'],
            ['b', 'A; B', str(_START + _HOUR), '4.0', '5.0'],
            ['c', '', str(_START), '-1.0', '-2.0'],
        ],
    )  # fmt: skip
    self.assertSameElements(
        [p.name for p in self.dir.iterdir()], ['films.csv', 'written.csv']
    )

  def test_keeps_the_types_of_parquet(self):
    source = schema_lib.SideTable(('films.parquet',), 'parquet', 'id')
    path = self.dir / 'films.parquet'
    pq.write_table(pa.table({'id': ['b'], 'tags': [['x', 'y']]}), path)
    written = self.dir / 'written.parquet'
    self.write(written, side_table.Attributes(source, [path]))
    rows = pq.read_table(written).to_pylist()
    self.assertEqual([row['tags'] for row in rows], [['x', 'y']] * 2)
    self.assertEqual([row['film_embedding_1'] for row in rows], [3.0, 5.0])

  def test_without_attributes_it_holds_the_embeddings_alone(self):
    written = self.dir / 'written.parquet'
    self.assertEqual(self.write(written, None), 3)
    rows = pq.read_table(written).to_pylist()
    self.assertEqual([row['film'] for row in rows], ['01', 'b', 'b'])
    self.assertEqual([row['film_embedding_0'] for row in rows], [0.5, 2.0, 4.0])

  def test_refuses_a_column_that_is_there_and_leaves_what_was_written(self):
    source = schema_lib.SideTable(('films.csv',), 'csv', 'id')
    path = self.dir / 'films.csv'
    path.write_text('id,film_embedding_1\nb,3\n')
    written = self.dir / 'written.csv'
    written.write_text('before')
    with self.assertRaisesRegex(errors.InputError, "embedding_1' already"):
      self.write(written, side_table.Attributes(source, [path]))
    self.assertEqual(written.read_text(), 'before')
    self.assertLen(list(self.dir.iterdir()), 2)


_BY_TIME = (
    '--config.protocol.split=by_time',
    '--config.protocol.new_entity_fraction=0',
    '--config.protocol.train_end=1997-11-20T20:00:00+00:00',
    '--config.protocol.test_end=1997-11-21T20:00:00+00:00',
    '--config.protocol.refresh_hours=4',
)


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
    self.assertIn('film_embeddings.csv', self.result.stdout)
    out = self.dir / 'out'
    schema = f'--config.data.schema={out / "schema.toml"}'
    self.prepare('tasks', out, schema)
    films = pipeline.load(self.dir / 'films')
    refresher = pipeline.restore(
        films, self.dir / 'run', store=self.dir / 'store'
    ).refresher
    data = pipeline.load(self.dir / 'tasks')
    names = [s.name for s in data.info.features if 'film_emb' in s.name]
    self.assertLen(names, 4)
    table = data.table
    read = np.stack([table.event_features[name] for name in names], axis=1)
    keys = self.item_keys(data)
    places = {key: n for n, key in enumerate(films.table.entity_keys)}
    cutoffs = timeline.cutoffs(films.info, films.table)
    checked = 0
    for cutoff in cutoffs:
      # What has the time of a refresh is served by the one before it.
      of_period = np.flatnonzero(
          (table.timestamps > cutoff)
          & (table.timestamps <= cutoff + 4 * _HOUR)
          & (keys != '')
      )
      vectors = {}
      for chunk in refresher.generate(refresher.plan(cutoff)):
        vectors |= dict(zip(chunk.entities, chunk.vectors, strict=True))
      for event in of_period:
        np.testing.assert_allclose(
            read[event], vectors[places[keys[event]]], rtol=1e-6
        )
      checked += of_period.size
    self.assertGreater(checked, 0.9 * table.timestamps.size)

  def item_keys(self, data):
    """Returns the item of each event, '' where the vocabulary has it not."""
    keys, features = items.load_items(data.directory)
    index = features[data.info.item_feature]
    found = np.zeros(index.max() + 1, keys.dtype)
    found[index[index > 0]] = keys[index > 0]
    return found[data.table.event_features[data.info.item_feature]]

  def test_refuses_a_schema_whose_items_are_others(self):
    result = self.join(self.dir / 'films.toml', 'other')
    self.assertEqual(result.returncode, 1)
    self.assertIn("interactions.item is 'user_id'", result.stderr)
    self.assertFalse((self.dir / 'other').exists())

  def test_refuses_to_add_embeddings_twice(self):
    result = self.join(self.dir / 'out' / 'schema.toml', 'twice')
    self.assertEqual(result.returncode, 1)
    self.assertIn('attributes of items change already', result.stderr)


if __name__ == '__main__':
  absltest.main()

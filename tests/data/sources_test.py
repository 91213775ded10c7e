import pathlib

from absl.testing import absltest
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import sources
from limaml_jax.data.log import tables

_SOURCE = schema_lib.Interactions(
    files=(),
    format='parquet',
    item='item',
    timestamp='time',
    timestamp_unit='s',
    label='label',
)


class ParquetTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.create_tempdir().full_path)

  def write(self, name, values, kind):
    path = self.directory / name
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({'time': pa.array(values, kind)}), path)
    return path

  def read(self, paths, columns=('time',), where='true'):
    """Returns file, row and columns of the rows of some files."""
    with duckdb.connect() as connection:
      table = sources.open_table(
          connection,
          'events',
          _SOURCE,
          paths,
          columns=dict.fromkeys(columns, 'the test'),
          formulas={},
      )
      names = ', '.join((tables.FILE, tables.ROW, *columns))
      return connection.execute(
          f'SELECT {names} FROM {table.name} WHERE {where} ORDER BY ALL'
      ).fetchall()

  def test_rows_know_their_places_whatever_the_files_types(self):
    kinds = [pa.int64(), pa.int64(), pa.int32(), pa.int64(), pa.int64()]
    paths = [
        self.write(f'{n}.parquet', [10 * n, 10 * n + 1], kind)
        for n, kind in enumerate(kinds)
    ]
    self.assertEqual(
        self.read(paths),
        [(n, row, 10 * n + row) for n in range(5) for row in range(2)],
    )

  def test_files_of_partitions_that_are_left_out_still_count(self):
    paths = [
        self.write(f'day={n}/part.parquet', [10 * n], pa.int64())
        for n in range(3)
    ]
    self.assertEqual(
        self.read(paths, ('time', 'day'), 'day = 2'), [(2, 0, 20, 2)]
    )


if __name__ == '__main__':
  absltest.main()

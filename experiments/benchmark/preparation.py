r"""Times `prepare` on a log against the least that it must do: sort and write.

    python -m experiments.generate_log --output=DIR --rows=10000000 \
        --entities=1000000
    python -m experiments.benchmark prepare --log=DIR

prints a JSON line. The log is prepared with its schema, all columns and side
tables; then DuckDB alone, with the same memory, sorts the log's rows by entity
and time and writes them. `peak_bytes` is of the process while it prepared.
"""

import json
import pathlib
import resource
import tempfile
import time

from absl import flags

from experiments import progress
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import prepare
from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.log import raw_log
from limaml_jax.data.log import schema_file
from limaml_jax.data.log import tables

_LOG = flags.DEFINE_string(
    'log', None, 'Directory of a log with its schema.toml, in Parquet.'
)
_LOG_MEMORY = flags.DEFINE_string(
    'log_memory', duckdb_engine.MEMORY_LIMIT, 'Memory of DuckDB.'
)


def main() -> None:
  """Prepares the log, sorts it, and prints a line."""
  if not _LOG.value:
    raise errors.InputError(
        '--log: say where the log is; experiments.generate_log makes one'
    )
  directory = pathlib.Path(_LOG.value)
  schema = schema_file.load(directory / 'schema.toml')
  if schema.interactions.format != 'parquet':
    raise errors.InputError(f'--log={directory}: is not in Parquet')
  # On the log's disk, which has room for it.
  with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
    output = pathlib.Path(scratch)
    info, seconds = _prepare(directory, output / 'tasks')
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sorting = _sort_and_write(schema, directory, output)
  print(
      json.dumps({
          'rows': info.num_interactions,
          'entities': info.num_entities,
          'features': len(info.features),
          'prepare_s': round(seconds, 1),
          'sort_and_write_s': round(sorting, 3),
          'ratio': round(seconds / sorting, 2),
          'peak_bytes': peak_bytes,
      })
  )


def _prepare(directory, output):
  start = time.perf_counter()
  with progress.bar('prepare') as update:
    info = prepare.prepare(
        directory / 'schema.toml',
        directory,
        output,
        data=config_lib.DataConfig(),
        protocol=config_lib.ProtocolConfig(),
        memory_limit=_LOG_MEMORY.value,
        on_progress=lambda stage, done, total: update(done, total),
    )
  return info, time.perf_counter() - start


def _sort_and_write(schema, directory, scratch):
  """Returns the seconds that DuckDB takes for it alone."""
  entity = next(iter(schema.entities.values()))
  interactions = schema.interactions
  paths = raw_log.find_files(schema, entity, directory)['events']
  files = ', '.join(tables.literal(str(path)) for path in paths)
  order = ', '.join(
      map(
          tables.quote,
          (entity.key, interactions.timestamp, interactions.item),
      )
  )
  start = time.perf_counter()
  with duckdb_engine.connect(scratch, _LOG_MEMORY.value) as connection:
    connection.execute(
        f'COPY (SELECT * FROM read_parquet([{files}]) ORDER BY {order}) TO'
        f' {tables.literal(str(scratch / "sorted.parquet"))} (FORMAT parquet)'
    )
  return time.perf_counter() - start

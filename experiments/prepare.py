r"""Makes tasks from a log: reads, checks, orders, splits, and stores them.

    python -m experiments.prepare --schema=SCHEMA --input='logs/*.parquet' \
        --dry_run
    python -m experiments.prepare --schema=SCHEMA --input='logs/*.parquet' \
        --output=runs/mine/tasks

The first says what the log is like and writes nothing: counts, quantiles,
invalid values, and features that seem to tell the label.
"""

import json
import pathlib

from absl import flags

from experiments import binary
from experiments import config_flag
from experiments import log_input
from experiments import pipeline
from experiments import profile_report
from experiments import progress
from experiments import variants
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax import overrides
from limaml_jax.data.engines import duckdb_engine
from limaml_jax.data.engines import start
from limaml_jax.data.profile import facts
from limaml_jax.data.profile import profiler

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(config_flag)

_SCHEMA = flags.DEFINE_string(
    'schema',
    None,
    'TOML file, or the name of one under experiments/schemas, that says which '
    'column is what; instead of --config.data.schema. Without --config, all '
    'other settings are then the defaults of the library.',
)
_INPUT = flags.DEFINE_list(
    'input',
    [],
    'Files of the log: globs, separated by commas, relative to the current '
    'directory; instead of `interactions.files` of the schema.',
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir',
    None,
    'Directory that the files of the schema are relative to. When left out: '
    'that of the first file of --input, or the one of --schema, whichever '
    'first has the side tables.',
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Receives the dataset; needed unless --dry_run.'
)
_DRY_RUN = flags.DEFINE_bool(
    'dry_run',
    False,
    'Says what the log is like, and what is wrong with it; writes nothing. '
    'Always done by DuckDB on this machine.',
)
_JSON = flags.DEFINE_bool(
    'json', False, 'With --dry_run: prints one JSON object instead of tables.'
)
_MEMORY_LIMIT = flags.DEFINE_string(
    'memory_limit',
    duckdb_engine.MEMORY_LIMIT,
    'Memory of DuckDB; what needs more goes to disk.',
)
_ENGINE = flags.DEFINE_enum(
    'engine',
    'duckdb',
    start.NAMES,
    'What reads and sorts the log: DuckDB on this machine, or Spark, for a log '
    'that a machine cannot sort: it reads Parquet, and needs pyspark and Java. '
    'Both make the same dataset.',
)
_SPARK_MASTER = flags.DEFINE_string(
    'spark_master',
    start.DEFAULT_MASTER,
    'With --engine=spark: master of the cluster, such as spark://HOST:7077; '
    'the default is all cores of this machine.',
)
_ENCODING_OF = flags.DEFINE_string(
    'encoding_of',
    None,
    'Dataset, --output itself included, whose vocabularies, statistics and '
    'buckets are kept instead of fitted anew, so that a model trained on it '
    'can refresh and score with the new one.',
)
_MAX_REJECT_FRACTION = flags.DEFINE_float(
    'max_reject_fraction',
    0.01,
    'Invalid rows are left out, and listed in OUTPUT/rejects.parquet, unless '
    'they are more than this fraction of the log; then nothing is made.',
    lower_bound=0.0,
    upper_bound=1.0,
)


def main() -> None:
  """Prepares the dataset, or with --dry_run tells of the log."""
  output = _OUTPUT.value or ''
  if not output and not _DRY_RUN.value:
    raise errors.InputError('--output: say where to, or give --dry_run')
  config = config_flag.resolve(variants.LIMAML)
  if _SCHEMA.value is not None:
    config = overrides.override(config, {'data.schema': _SCHEMA.value})
  if _JSON.value and not _DRY_RUN.value:
    raise errors.InputError('--json: is for --dry_run; remove it')
  log = log_input.find(config.data.schema, _INPUT.value, _DATA_DIR.value)
  if _DRY_RUN.value:
    _profile(log, config)
  else:
    _prepare(log, config, pathlib.Path(output))


def _profile(log: log_input.LogInput, config: config_lib.Config) -> None:
  with progress.bar('profile') as update:
    known = profiler.profile(
        log.load_schema(),
        log.data_dir,
        data=config.data,
        memory_limit=_MEMORY_LIMIT.value,
        on_progress=update,
    )
  if _JSON.value:
    print(json.dumps(facts.to_json(known), allow_nan=False))
  else:
    profile_report.show(known)


def _prepare(
    log: log_input.LogInput, config: config_lib.Config, output: pathlib.Path
) -> None:
  with progress.bar('prepare') as update:
    info = pipeline.prepare(
        config,
        log.data_dir,
        output,
        lambda stage, done, total: update(done, total),
        files=log.files,
        engine=_ENGINE.value,
        spark_master=_SPARK_MASTER.value,
        memory_limit=_MEMORY_LIMIT.value,
        max_reject_fraction=_MAX_REJECT_FRACTION.value,
        encoding_of=_ENCODING_OF.value,
    )
  print(
      f'{output}: {info.num_interactions:,} interactions of '
      f'{info.num_entities:,} {info.entity_type}s, {info.num_train:,} to train '
      f'on; {info.protocol}'
  )


if __name__ == '__main__':
  binary.run(main)

r"""Scores a log's impressions as bundles would have served them.

    python -m experiments.replay --bundle=runs/today --bundle=runs/new \
        --schema=SCHEMA --log='logs/2022-05-08-*.parquet' --output=replay.json

Of one bundle it reports quality; of two, A and B, the difference B - A as well,
with paired intervals by resampling entities, and whether B may replace A: exit
status 0 if it may, 3 if it may not, 1 if something is wrong. It may if the 95 %
interval of the difference in ROC-AUC lies above -MAX_LOSS, that in normalized
entropy below MAX_ENTROPY_GAIN, and no impression is older than a snapshot.
"""

import contextlib
import json
import logging
import pathlib
import sys
import tempfile

from absl import flags

from experiments import binary
from experiments import log_input
from experiments import pipeline
from experiments import progress
from experiments import times
from experiments.replay import contender as contender_lib
from experiments.replay import impressions as impressions_lib
from experiments.replay import replaying
from experiments.replay import report as report_lib
from experiments.replay import verdict as verdict_lib
from limaml_jax import errors
from limaml_jax.data.engines import duckdb_engine

flags.adopt_module_key_flags(binary)

_BUNDLES = flags.DEFINE_multi_string(
    'bundle',
    None,
    'Directory that `export` made: A, and given again B.',
    required=True,
)
_STORES = flags.DEFINE_multi_string(
    'store',
    [],
    'Feature store of each bundle, in their order; those that their '
    'model-settings.json name when left out.',
)
_SCHEMA = flags.DEFINE_string(
    'schema',
    None,
    'TOML file, or the name of one under experiments/schemas, that the model '
    'was trained with.',
    required=True,
)
_LOG = flags.DEFINE_list(
    'log',
    [],
    'Files of the log: globs, separated by commas, relative to the current '
    'directory; `interactions.files` of the schema when left out.',
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir',
    None,
    'Directory that the files of the schema are relative to; its own when '
    'left out.',
)
_START = flags.DEFINE_string(
    'start', None, 'Replay impressions from this time on, ISO with zone.'
)
_STOP = flags.DEFINE_string(
    'stop', None, 'Replay impressions before this time, ISO with zone.'
)
_LIMIT = flags.DEFINE_integer(
    'limit', 0, 'Replay the earliest so many; 0 all.', lower_bound=0
)
_MAX_LOSS = flags.DEFINE_float(
    'max_loss', 0.001, 'ROC-AUC that B may lose.', lower_bound=0.0
)
_MAX_ENTROPY_GAIN = flags.DEFINE_float(
    'max_entropy_gain',
    0.001,
    'Normalized entropy that B may gain.',
    lower_bound=0.0,
)
_ALLOW_LEAKS = flags.DEFINE_bool(
    'allow_leaks',
    False,
    'Let B replace A though impressions are older than a snapshot, whose '
    'embeddings may have been made of them.',
)
_REPLICATES = flags.DEFINE_integer(
    'replicates', 500, 'Draws of entities behind each interval.', lower_bound=1
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'JSON file that receives everything found.'
)
_MAX_REJECT_FRACTION = flags.DEFINE_float(
    'max_reject_fraction',
    0.01,
    'Invalid rows are left out and counted, unless they are more than this '
    'fraction of the log; then nothing is scored.',
    lower_bound=0.0,
    upper_bound=1.0,
)
_MEMORY_LIMIT = flags.DEFINE_string(
    'memory_limit',
    duckdb_engine.MEMORY_LIMIT,
    'Memory of DuckDB, which reads the log; what needs more goes to disk.',
)
_REFUSED = 3


def main() -> None:
  """Prints the report; exits with status 3 if B may not replace A."""
  logging.getLogger('experiments').setLevel(logging.INFO)
  log = log_input.find(_SCHEMA.value, _LOG.value, _DATA_DIR.value, flag='log')
  chosen = impressions_lib.Chosen(
      start=_time('start', _START.value),
      stop=_time('stop', _STOP.value),
      limit=_LIMIT.value,
  )
  with contextlib.ExitStack() as stack:
    contenders = _open(stack)
    scratch = stack.enter_context(tempfile.TemporaryDirectory())
    impressions = impressions_lib.read(
        log,
        contenders[0].manifest.entity_type,
        chosen,
        scratch=scratch,
        memory_limit=_MEMORY_LIMIT.value,
        max_reject_fraction=_MAX_REJECT_FRACTION.value,
    )
    with progress.bar('replay') as update:
      replayed = replaying.replay(contenders, impressions, update)
  rule = verdict_lib.Rule(
      max_loss=_MAX_LOSS.value,
      max_entropy_gain=_MAX_ENTROPY_GAIN.value,
      allow_leaks=_ALLOW_LEAKS.value,
  )
  with progress.bar('resample') as update:
    report = replaying.report(
        contenders,
        impressions,
        replayed,
        rule,
        num_replicates=_REPLICATES.value,
        on_progress=update,
    )
  report_lib.show(report)
  if _OUTPUT.value:
    text = json.dumps(report_lib.to_json(report), indent=2, allow_nan=False)
    pipeline.write_text(pathlib.Path(_OUTPUT.value), text + '\n')
  if report.verdict and not report.verdict.accepted:
    sys.exit(_REFUSED)


def _time(flag: str, text: str | None) -> int | None:
  return None if text is None else times.parse(flag, text)


def _open(stack: contextlib.ExitStack) -> list[contender_lib.Contender]:
  roots, stores = _BUNDLES.value, _STORES.value
  if len(roots) > 2:
    raise errors.InputError(f'--bundle: {len(roots)} are given; give 1 or 2')
  if stores and len(stores) != len(roots):
    raise errors.InputError(
        f'--store: {len(stores)} for {len(roots)} bundles; give one for each,'
        ' or none'
    )
  contenders = []
  for root, store in zip(roots, stores or [None] * len(roots), strict=True):
    contender = contender_lib.Contender(root, store)
    stack.callback(contender.close)
    contenders.append(contender)
  types = {contender.manifest.entity_type for contender in contenders}
  if len(types) > 1:
    raise errors.InputError(
        f'--bundle: one adapts {" and the other ".join(sorted(types))}; give'
        ' bundles of one entity type'
    )
  return contenders


if __name__ == '__main__':
  binary.run(main)

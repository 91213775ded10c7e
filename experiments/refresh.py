r"""Refreshes the store: adapts every entity to its events before a cutoff.

    python -m experiments.refresh --data=runs/ml100k/tasks \
        --workdir=runs/ml100k/limaml --cutoff=1998-04-20T00:00:00+00:00
"""

import datetime
import pathlib

from absl import flags

from experiments import binary
from experiments import pipeline
from experiments import progress
from limaml_jax import errors

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_STORE = flags.DEFINE_string(
    'store', None, 'Directory of the store; WORKDIR/store when left out.'
)
_CUTOFF = flags.DEFINE_string(
    'cutoff',
    None,
    'ISO time with zone; only earlier events are used. All events of the '
    'dataset when left out.',
)


def main() -> None:
  """Publishes the embeddings of --cutoff."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  store = pathlib.Path(_STORE.value or workdir / pipeline.STORE_DIR)
  cutoff = _parse(_CUTOFF.value) if _CUTOFF.value else data.info.test_end
  served = pipeline.restore(data, workdir, store=store)
  with progress.bar('refresh') as update:
    manifest = served.refresher.publish(cutoff, on_progress=update)
  print(
      f'{store}: snapshot {manifest.version} of {manifest.count:,} '
      f'{manifest.entity_type}s, {manifest.dimension} x {manifest.dtype}, '
      f'model {manifest.fingerprint}, events before {_show(cutoff)}'
  )


def _parse(text: str) -> int:
  try:
    time = datetime.datetime.fromisoformat(text)
  except ValueError as error:
    raise errors.InputError(
        f'--cutoff={text}: not an ISO time; e.g. 2022-05-04T00:00:00+08:00'
    ) from error
  if time.tzinfo is None:
    raise errors.InputError(f'--cutoff={text}: has no zone; append e.g. +00:00')
  return int(time.timestamp())


def _show(cutoff: int) -> str:
  time = datetime.datetime.fromtimestamp(cutoff, datetime.UTC)
  return time.isoformat()


if __name__ == '__main__':
  binary.run(main)

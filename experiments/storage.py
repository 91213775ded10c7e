r"""Says what an entity costs to store, and what fewer bits cost in quality.

    python -m experiments.storage --data=runs/kuairand/tasks \
        --workdir=runs/kuairand/limaml/seed_0 --measure

A row for each way to keep what an entity was adapted to: all adapted weights of
the meta block, the factors of their low-rank update, and the meta embedding in
each type. With --measure the test events are replayed as served with each
type, and compared with float32 on the same rows.
"""

import json
import pathlib

from absl import flags
import jax
import numpy as np
from rich import console as rich_console
from rich import table as rich_table

from experiments import binary
from experiments import pipeline
from experiments import progress
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import ranking
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.store import record
from limaml_jax.store import vector_dtypes

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_MEASURE = flags.DEFINE_boolean(
    'measure', False, 'Replay the test events with each type; takes a while.'
)
_JSON = flags.DEFINE_boolean('json', False, 'Print JSON lines, not a table.')

_WEIGHT_BYTES = 4
_KEY_BYTES = 16  # Of an entity, as an example.
_STORE_DIR = 'storage_store'


def main() -> None:
  """Prints a row for each way to store an entity."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  store = workdir / _STORE_DIR
  served = pipeline.restore(data, workdir, store=store)
  rows = _arithmetic(data, served)
  if _MEASURE.value:
    losses = _measure(data, workdir, store)
    rows = [row | losses.get(row['stored'], {}) for row in rows]
  if _JSON.value:
    for row in rows:
      print(json.dumps(row))
    return
  _show(rows, data.info.num_entities)


def _arithmetic(
    data: pipeline.Dataset, served: pipeline.Served
) -> list[dict]:
  """Returns the bytes of an entity, way by way."""
  block = served.params.meta_block[data.info.entity_type]
  config, leaves = served.config, jax.tree.leaves(block)
  # Of an ensemble, those of each member.
  leaves = [
      leaf
      for stacked in leaves
      for leaf in (stacked if config.model.ensemble_size > 1 else [stacked])
  ]
  kernels = [leaf.shape for leaf in leaves if leaf.ndim == 2]
  biases = [leaf.shape[0] for leaf in leaves if leaf.ndim == 1]
  varying = config.model.meta_block.reads_history or any(
      spec.owner != 'entity' for spec in _meta_specs(data, served)
  )
  num_rows = config.episodes.support_buckets[-1] if varying else 1
  # Each step adds a product of two vectors for each row of the input.
  rank = config.inner_loop.num_steps * num_rows
  numbers = sum(rank * (i + o) for i, o in kernels) + sum(biases)
  dimension = served.refresher.default_embedding().size
  return [
      {
          'stored': 'adapted weights, float32',
          'bytes': _WEIGHT_BYTES * sum(leaf.size for leaf in leaves),
      },
      {
          'stored': f'low-rank factors of rank {rank}, float32',
          'bytes': _WEIGHT_BYTES * numbers,
      },
  ] + [
      {
          'stored': dtype,
          'bytes': record.layout(dimension, dtype).itemsize,
      }
      for dtype in vector_dtypes.DTYPES
  ]


def _meta_specs(data: pipeline.Dataset, served: pipeline.Served):
  names = served.assembly.names.meta
  return [spec for spec in data.info.features if spec.name in names]


def _measure(
    data: pipeline.Dataset, workdir: pathlib.Path, store: pathlib.Path
) -> dict[str, dict]:
  """Returns ROC-AUC by type, and the loss against float32."""
  scored: dict[str, scores_lib.Scores] = {}
  for dtype in vector_dtypes.DTYPES:
    served = pipeline.restore(data, workdir, store=store, dtype=dtype)
    with progress.bar(f'replay in {dtype}') as update:
      scored[dtype] = pipeline.evaluate_as_served(data, served, store, update)
  exact = scored['float32']
  found = {}
  for dtype, scores in scored.items():
    rng = np.random.default_rng(0)
    difference = bootstrap.paired_difference(scores, exact, rng)
    groups = ranking.tie_groups(scores.score, scores.label)
    interval = difference.interval
    found[dtype] = {
        'roc_auc': ranking.roc_auc(groups),
        'difference': difference.roc_auc,
        'interval': list(interval) if interval else None,
    }
  return found


def _show(rows: list[dict], num_entities: int) -> None:
  table = rich_table.Table(
      caption=f'plus the key, about {_KEY_BYTES} bytes of an entity;'
      f' {num_entities:,} entities here'
  )
  table.add_column('what is stored of an entity')
  for name in ('bytes', 'of 1 M entities', 'ROC-AUC', 'against float32'):
    table.add_column(name, justify='right')
  for row in rows:
    table.add_row(
        row['stored'],
        f'{row["bytes"]:,}',
        _human(row['bytes'] * 1_000_000),
        f'{row["roc_auc"]:.4f}' if 'roc_auc' in row else '',
        _show_difference(row),
    )
  rich_console.Console(width=120).print(table)


def _human(num_bytes: int) -> str:
  giga = num_bytes / 1e9
  return f'{giga:,.1f} GB' if giga >= 1 else f'{1e3 * giga:,.0f} MB'


def _show_difference(row: dict) -> str:
  if row.get('difference') is None:
    return ''
  interval = row['interval']
  shown = f' [{interval[0]:+.5f}, {interval[1]:+.5f}]' if interval else ''
  return f'{row["difference"]:+.5f}{shown}'


if __name__ == '__main__':
  binary.run(main)

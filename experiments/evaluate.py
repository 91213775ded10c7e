r"""Evaluates a trained variant as served, and prints its quality.

    python -m experiments.evaluate --data=runs/ml100k/tasks \
        --workdir=runs/ml100k/limaml

At each refresh, embeddings are generated from earlier events, published, read
back through the store, and used by the global block on the later events.
"""

import json
import pathlib

from absl import flags
import numpy as np

from experiments import binary
from experiments import pipeline
from experiments import progress
from limaml_jax.evaluation import summary as summary_lib

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_ADAPT = flags.DEFINE_bool(
    'adapt', True, 'False serves unadapted embeddings.'
)
_BOOTSTRAP_SEED = 0


def main() -> None:
  """Writes scores.parquet and evaluation.json, and prints the latter."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  path = workdir / 'scores.parquet'
  with progress.bar('evaluate as served') as update:
    scores = pipeline.score_run(
        data, workdir, path, adapt=_ADAPT.value, on_progress=update
    )
  rng = np.random.default_rng(_BOOTSTRAP_SEED)
  text = json.dumps(summary_lib.summarize(scores, rng), indent=2)
  (workdir / 'evaluation.json').write_text(text)
  print(text)


if __name__ == '__main__':
  binary.run(main)

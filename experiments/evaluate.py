r"""Evaluates a trained variant as served, and prints its quality.

    python -m experiments.evaluate --data=runs/ml100k/tasks \
        --workdir=runs/ml100k/limaml

At each refresh, embeddings are generated from earlier events, published, read
back through the store, and used by the global block on the later events.
Several processes that share --data and --workdir divide the entities, and come
to the numbers of one; status 75 says that one was lost: start them again.
"""

import json
import pathlib

from absl import flags
import numpy as np

from experiments import multihost
from experiments import pipeline
from experiments import progress
from experiments import sharing
from limaml_jax import cluster
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib

flags.adopt_module_key_flags(multihost)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_ADAPT = flags.DEFINE_bool(
    'adapt', True, 'False serves unadapted embeddings.'
)
_STAGE = 'evaluate as served'
_BOOTSTRAP_SEED = 0


def main() -> None:
  """Writes scores.parquet and evaluation.json, and prints the latter."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  path = workdir / 'scores.parquet'
  if cluster.place().count > 1:
    _evaluate_together(data, workdir, path)
    return
  with progress.bar(_STAGE) as update:
    scores = pipeline.score_run(
        data, workdir, path, adapt=_ADAPT.value, on_progress=update
    )
  _report(scores, workdir)


def _evaluate_together(
    data: pipeline.Dataset, workdir: pathlib.Path, path: pathlib.Path
) -> None:
  """Scores shares of the entities; the first process does what is left."""
  with progress.bar(_STAGE) as update:
    sharing.score_share(
        data, workdir, path, adapt=_ADAPT.value, on_progress=update
    )
  if not cluster.is_first():
    cluster.hear()  # That it is over.
    return
  with cluster.telling_errors():
    _report(sharing.merge(data, workdir, path), workdir)
    cluster.tell({})


def _report(scores: scores_lib.Scores, workdir: pathlib.Path) -> None:
  rng = np.random.default_rng(_BOOTSTRAP_SEED)
  text = json.dumps(summary_lib.summarize(scores, rng), indent=2)
  (workdir / 'evaluation.json').write_text(text)
  print(text)


if __name__ == '__main__':
  multihost.run(main, notes_sigterm=False)

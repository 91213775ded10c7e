r"""Calibrates a run by what its twin scored on the validation window.

    python -m experiments.train --data=runs/kuairand/validation \
        --config=experiments/configs/kuairand.py \
        --config.protocol.phase=validation --workdir=runs/kuairand/twin
    python -m experiments.calibrate --data=runs/kuairand/validation \
        --twin=runs/kuairand/twin --workdir=runs/kuairand/run

The twin has the settings of the run, but for protocol.phase: it has not seen
the window. Scale and shift of the logit are fitted to its scores as served
there, and left in WORKDIR/calibration.json; whatever scores, evaluates or
exports the run from then on uses them. Ranks and embeddings stay as they are.
"""

import pathlib

from absl import flags
import numpy as np

from experiments import binary
from experiments import pipeline
from experiments import progress
from limaml_jax import errors
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib
from limaml_jax.export import calibration as calibration_lib
from limaml_jax.training import run_config

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset of the validation phase.', required=True
)
_TWIN = flags.DEFINE_string(
    'twin', None, 'Run that was trained on --data.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Run to calibrate.', required=True
)
# What a twin may differ in.
_PHASE = ('protocol.phase', 'training.seed')
_SCORES_FILE = 'calibration.parquet'


def main() -> None:
  """Writes the calibration of --workdir."""
  twin, workdir = pathlib.Path(_TWIN.value), pathlib.Path(_WORKDIR.value)
  data = pipeline.load(_DATA.value)
  pipeline.check_validation(data)
  _check_twin(twin, workdir)
  calibration_lib.remove(twin)  # A twin's own would be fitted a second time.
  with progress.bar('score') as update:
    scores = pipeline.score_run(
        data, twin, twin / _SCORES_FILE, on_progress=update
    )
  calibration = calibration_lib.fit(scores.score, scores.label)
  before = _log_loss(scores)
  calibrated = calibration_lib.apply(calibration, scores.score)
  after = _log_loss(scores._replace(score=calibrated))
  facts = {
      'rows': int(scores.score.size),
      'window': data.info.protocol,
      'log_loss_before': before,
      'log_loss_after': after,
      'predicted_over_observed_before': _ratio(scores.score, scores.label),
      'predicted_over_observed_after': _ratio(calibrated, scores.label),
  }
  calibration_lib.write(workdir, calibration, **facts)
  print((workdir / calibration_lib.FILE).read_text())


def _check_twin(twin: pathlib.Path, workdir: pathlib.Path) -> None:
  """Raises InputError unless both are runs of the same settings."""
  one, other = run_config.read_settings(twin), run_config.read_settings(workdir)
  differing = [
      name
      for name in sorted(one.keys() | other.keys())
      if name not in _PHASE and one.get(name) != other.get(name)
  ]
  if differing:
    raise errors.InputError(
        f'--twin={twin}: differs from {workdir} in {", ".join(differing)}; '
        'train it with the settings of the run'
    )
  if one.get('protocol.phase') != 'validation':
    raise errors.InputError(
        f'--twin={twin}: its protocol.phase is not validation: it may have seen'
        ' the rows that it is to be judged on; train one that has not'
    )


def _log_loss(scores: scores_lib.Scores) -> float | None:
  return summary_lib.quality(scores)['log_loss']


def _ratio(scores: np.ndarray, labels: np.ndarray) -> float:
  return float(np.mean(scores) / np.mean(labels))


if __name__ == '__main__':
  binary.run(main)

"""Metric records: JSON lines for programs, TensorBoard events for people."""

import contextlib
import json
import pathlib

import tensorboardX

from limaml_jax import cluster
from limaml_jax import errors

METRICS_FILE = 'metrics.jsonl'


class MetricWriter(contextlib.AbstractContextManager):
  """Appends {step, wall_s, name: value} records; wall_s is of all sittings.

  A resumed run drops the records after its checkpoint, then writes them again.
  """

  def __init__(self, workdir: pathlib.Path, *, resume_step: int):
    path = workdir / METRICS_FILE
    kept = [r for r in read_metrics(workdir) if r['step'] <= resume_step]
    # Replaced whole: a run killed here keeps its records.
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(json.dumps(r) + '\n' for r in kept))
    temporary.replace(path)
    self._earlier_s = kept[-1]['wall_s'] if kept else 0.0
    self._file = path.open('a')
    self._events = tensorboardX.SummaryWriter(
        str(workdir / 'tensorboard'), purge_step=resume_step + 1
    )

  def __exit__(self, *_):
    self._file.close()
    self._events.close()

  def write(self, step: int, wall_s: float, values: dict[str, float]) -> None:
    """Records the values after `step` outer steps, wall_s of this sitting."""
    seconds = round(self._earlier_s + wall_s, 3)
    record = {'step': step, 'wall_s': seconds} | values
    self._file.write(json.dumps(record) + '\n')
    self._file.flush()
    for name, value in values.items():
      self._events.add_scalar(name, value, step)


class NoWriter(contextlib.AbstractContextManager):
  """Writes nothing: another process of the job does."""

  def __exit__(self, *_):
    pass

  def write(self, step: int, wall_s: float, values: dict[str, float]) -> None:
    """As of `MetricWriter`."""


def open_writer(
    workdir: pathlib.Path, *, resume_step: int
) -> MetricWriter | NoWriter:
  """Returns the writer of a run, which only the first process writes with."""
  if not cluster.is_first():
    return NoWriter()
  return MetricWriter(workdir, resume_step=resume_step)


def read_metrics(workdir: pathlib.Path) -> list[dict[str, float]]:
  """Reads the records of a run; a torn last line is left out."""
  path = workdir / METRICS_FILE
  if not path.exists():
    return []
  lines = path.read_text().splitlines(keepends=True)
  try:
    return [json.loads(line) for line in lines if line.endswith('\n')]
  except ValueError as error:
    raise errors.InputError(
        f'{path}: holds a line that is no record; delete the file, or the line'
    ) from error

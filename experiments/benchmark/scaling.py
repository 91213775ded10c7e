"""Predicts what a meta-training step sends and how well it scales.

    python -m experiments.benchmark scaling

prints a JSON line for each number of devices and division of them: the bytes
that a device sends in a step, the time of the step, and its efficiency, which
is the time on one device over that time, tasks per device being the same.
Nothing is run: docs/scaling.md has the model, and what its terms were measured
to be. The machine's are flags.
"""

import json
import math
from typing import NamedTuple

from absl import flags

from limaml_jax import errors
from limaml_jax.training import row_exchange

_MESH_ROWS = (1, 8, 64, 256, 1024)
_DEVICES = flags.DEFINE_list(
    'devices', ['8', '64', '256', '1024'], 'Numbers of devices.'
)
_ROWS = flags.DEFINE_integer(
    'scaling_rows', 100_000_000, 'Rows of the table.', lower_bound=1
)
_TASKS = flags.DEFINE_integer(
    'scaling_tasks', 256, 'Tasks in a step, of each device.', lower_bound=1
)
_SLOTS = flags.DEFINE_integer(
    'slots', 36, 'Reads of table rows, of each task.', lower_bound=1
)
_DIMENSION = flags.DEFINE_integer(
    'scaling_dimension', 16, 'Of a table row.', lower_bound=1
)
_DENSE_BYTES = flags.DEFINE_integer(
    'dense_bytes', 200_000, 'Of dense parameters.', lower_bound=1
)
_STEP_MS = flags.DEFINE_float(
    'step_ms', 5.0, 'Step on one device: its tasks, nothing sent.'
)
_GIGABYTES_PER_S = flags.DEFINE_float(
    'gigabytes_per_s', 25.0, 'That a device sends.', lower_bound=0.001
)
_LATENCY_US = flags.DEFINE_float(
    'latency_us', 10.0, 'Of each stage of a collective.', lower_bound=0
)
_MESSAGE_US = flags.DEFINE_float(
    'message_us',
    0.5,
    'Of each message where every device sends one to every other.',
    lower_bound=0,
)


class Step(NamedTuple):
  """What decides the bytes of a step.

  Attributes:
    tasks: of each device.
    slots: reads of table rows, of each task: support and query rows, times the
      categorical features that share a table.
    rows: of the table.
    dimension: of a table row.
    dense_bytes: of dense parameters.
  """

  tasks: int
  slots: int
  rows: int
  dimension: int
  dense_bytes: int


class Traffic(NamedTuple):
  """What a device sends in a step, bytes.

  Attributes:
    dense: the sum of the dense gradient.
    fetched: asking for rows, and answering.
    delivered: gradients of rows, to those who own them.
    stages: of collectives that go round, one after another.
    messages: of those where every device sends one to every other.
  """

  dense: int
  fetched: int
  delivered: int
  stages: float
  messages: int

  @property
  def total(self) -> int:
    """All bytes."""
    return self.dense + self.fetched + self.delivered


def predict(step: Step, axes: row_exchange.Axes) -> Traffic:
  """Returns the traffic of a step with one large table, in one round.

  Args:
    step: what decides it.
    axes: numbers of devices.
  """
  if axes.size == 1:
    return Traffic(0, 0, 0, 0, 0)
  stage = math.log2(axes.size)
  slots = step.tasks * step.slots
  of_row = 4 * (1 + step.dimension)  # Its number, and its values or gradient.
  dense = 2 * step.dense_bytes * (axes.size - 1) // axes.size
  if axes.rows == 1:
    delivered = slots * of_row * (axes.tasks - 1)
    return Traffic(dense, 0, delivered, 3 * stage, 0)
  block_rows = -(-step.rows // axes.rows)
  room = row_exchange.room(slots, block_rows, axes)
  swapped = room * of_row * (axes.rows - 1)
  copies = room * axes.rows * of_row * (axes.tasks - 1)
  stages = 4 * stage + 2 * math.log2(axes.tasks)
  messages = 4 * (axes.rows - 1)
  return Traffic(dense, swapped, swapped + copies, stages, messages)


def predict_from_compiler(step: Step, axes: row_exchange.Axes) -> int:
  """Returns the bytes that a device would send by the compiler's own plan.

  It makes one table of the distinct rows of all devices: their numbers are
  gathered and sorted everywhere, and the gradient of all of them is summed
  over all devices, as if it were dense.
  """
  if axes.size == 1:
    return 0
  slots = step.tasks * step.slots * axes.size
  summed = 2 * (axes.size - 1) / axes.size
  looked_up = 2 * (axes.rows - 1) / axes.rows * 4 * slots * step.dimension
  gradient = step.dense_bytes + 4 * slots * step.dimension
  return int(summed * (gradient + 4 * slots) + looked_up)


def main() -> None:
  """Prints a line for each number of devices and division of them."""
  step = Step(
      _TASKS.value,
      _SLOTS.value,
      _ROWS.value,
      _DIMENSION.value,
      _DENSE_BYTES.value,
  )
  for devices in _numbers_of_devices():
    for rows in (n for n in _MESH_ROWS if devices % n == 0):
      axes = row_exchange.Axes(devices // rows, rows)
      print(json.dumps(_record(step, axes)), flush=True)


def _numbers_of_devices() -> list[int]:
  for text in _DEVICES.value:
    if not text.isdecimal() or int(text) < 1:
      raise errors.InputError(
          f'--devices={",".join(_DEVICES.value)}: must be whole numbers above 0'
      )
  return [int(text) for text in _DEVICES.value]


def _record(step: Step, axes: row_exchange.Axes) -> dict:
  traffic = predict(step, axes)
  naive = predict_from_compiler(step, axes)
  time_ms = _time_ms(traffic.total, traffic.stages, traffic.messages)
  return {
      'devices': axes.size,
      'mesh': list(axes),
      **traffic._asdict(),
      'sent_bytes': traffic.total,
      'step_ms': round(time_ms, 3),
      'efficiency': round(_STEP_MS.value / time_ms, 3),
      'compiler_sent_bytes': naive,
      'compiler_efficiency': round(
          _STEP_MS.value / _time_ms(naive, 4 * math.log2(axes.size), 0), 3
      ),
  }


def _time_ms(sent_bytes: int, stages: float, messages: int) -> float:
  sending = sent_bytes / (_GIGABYTES_PER_S.value * 1e6)
  waiting = stages * _LATENCY_US.value + messages * _MESSAGE_US.value
  return _STEP_MS.value + sending + waiting / 1e3

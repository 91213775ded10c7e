"""Tells what devices send each other in one meta-training step.

    JAX_NUM_CPU_DEVICES=8 python -m experiments.benchmark collectives

compiles the outer step for all devices and prints a JSON line for each division
of them into (tasks, rows): every collective of the compiled program, the bytes
that a device sends for it, and their sum. Nothing is run or timed. A collective
inside a loop counts once: rows are exchanged in one round if all find room.
"""

from collections.abc import Iterator
import json
import math
import re
from typing import NamedTuple

from absl import flags
import jax

from experiments.benchmark import outer_step
from limaml_jax import errors

_COLLECTIVE_ROWS = flags.DEFINE_integer(
    'collective_rows', 1_000_000, 'Rows of the table.', lower_bound=2
)
_TASKS_PER_DEVICE = flags.DEFINE_integer(
    'tasks_per_device', 32, 'Tasks that each device learns from.', lower_bound=1
)
_MESHES = flags.DEFINE_list(
    'meshes',
    None,
    'Numbers of devices along axis `rows`; all powers of two that divide the '
    'devices when left out.',
)

_ITEM_BYTES = {'f32': 4, 's32': 4, 'u32': 4, 'f16': 2, 'bf16': 2, 'pred': 1}
_KINDS = (
    'all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all',
    'collective-permute',
)  # fmt: skip
_LINE = re.compile(
    rf'= (?P<shapes>.+?) (?P<kind>{"|".join(_KINDS)})(?P<start>-start)?\('
)
_SHAPE = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')
# Of one group: {{0,1},{2,3}}, [2,2]<=[4], mesh['a'=2,'b'=2] {'a'} with the
# devices in another order perhaps, or pairs.
_LISTED = re.compile(r'(?:replica_groups|source_target_pairs)=\{\{([\d,]+)\}')
_COUNTED = re.compile(r'replica_groups=\[\d+,(\d+)\]')
_NAMED = re.compile(
    r'replica_groups=mesh\[([^\]]+)\](?:, device_ids=\(.*?\))? \{([^}]*)\}'
)


class Collective(NamedTuple):
  """One of a compiled program.

  Attributes:
    kind: as XLA names it.
    shapes: of its results.
    group: number of devices that take part in each.
    sent_bytes: by each device, as ring algorithms send them.
  """

  kind: str
  shapes: str
  group: int
  sent_bytes: int


def main() -> None:
  """Prints a line for each mesh."""
  for mesh_rows in _choose_meshes():
    print(json.dumps(_record(mesh_rows)), flush=True)


def _choose_meshes() -> list[int]:
  count = jax.device_count()
  if _MESHES.value is None:
    return [2**n for n in range(count.bit_length()) if count % 2**n == 0]
  for text in _MESHES.value:
    if not text.isdecimal() or not int(text) or count % int(text):
      raise errors.InputError(
          f'--meshes={",".join(_MESHES.value)}: must be divisors of the'
          f' {count} devices'
      )
  return [int(text) for text in _MESHES.value]


def _record(mesh_rows: int) -> dict:
  config = outer_step.make_config(
      table_optimizer='row_wise_adagrad', mesh_rows=mesh_rows
  )
  num_devices = jax.device_count()
  step = outer_step.compile_step(
      config,
      num_rows=_COLLECTIVE_ROWS.value,
      num_tasks=_TASKS_PER_DEVICE.value * num_devices,
  )
  found = list(read(step.compiled.as_text() or ''))
  dense = step.state.params._replace(tables={})
  return {
      'mesh': [num_devices // mesh_rows, mesh_rows],
      'rows': _COLLECTIVE_ROWS.value,
      'tasks_per_device': _TASKS_PER_DEVICE.value,
      'dense_bytes': sum(x.nbytes for x in jax.tree.leaves(dense)),
      'collectives': [collective._asdict() for collective in found],
      'sent_bytes': sum(collective.sent_bytes for collective in found),
  }


def read(program: str) -> Iterator[Collective]:
  """Finds the collectives in the text of a compiled program."""
  for line in program.splitlines():
    match = _LINE.search(line)
    if not match:
      continue
    devices = _group_size(line)
    kind, shapes = match['kind'], _SHAPE.findall(match['shapes'])
    if match['start'] and kind != 'all-reduce':
      # The operands stand before the results, what is left of them after.
      shapes = [s for s in shapes if s[0] != 'u32' or s[1]]
      shapes = shapes[len(shapes) // 2 :]
    result = sum(_bytes_of(*shape) for shape in shapes)
    yield Collective(
        kind,
        ' '.join(f'{item}[{axes}]' for item, axes in shapes),
        devices,
        _sent(kind, result, devices),
    )


def _group_size(line: str) -> int:
  """Returns how many devices a collective is among."""
  if listed := _LISTED.search(line):
    return len(listed[1].split(','))
  if counted := _COUNTED.search(line):
    return int(counted[1])
  if named := _NAMED.search(line):
    sizes = dict(axis.split('=') for axis in named[1].split(','))
    return math.prod(int(sizes[axis]) for axis in named[2].split(','))
  raise ValueError(f'a collective among devices unknown: {line.strip()[:200]}')


def _bytes_of(item: str, axes: str) -> int:
  sizes = [int(size) for size in axes.split(',') if size]
  return _ITEM_BYTES[item] * math.prod(sizes)


def _sent(kind: str, result_bytes: int, devices: int) -> int:
  others = devices - 1
  if kind == 'all-reduce':
    return 2 * result_bytes * others // devices
  if kind == 'reduce-scatter':
    return result_bytes * others
  if kind == 'collective-permute':
    return result_bytes
  return result_bytes * others // devices

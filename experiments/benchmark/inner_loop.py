r"""Times one meta-training step: inner loops, ordinary training, and a peer.

    python -m experiments.benchmark inner_loop --num_steps=1,5 \
        --peer=torch --peer_python=PATH

prints a JSON line for each case, implementation and K. Implementations of one
case take turns, so that what else the machine does falls on all of them alike,
a few steps at a time, as in training; compare figures of one run only.
`gflops_per_s` counts matrix products, and `gemm_peak_gflops_per_s` is what one
large product reaches in the same run. Steps run on all devices, of which a CPU
has as many as JAX_NUM_CPU_DEVICES says.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import json
import statistics
import sys

from absl import flags

from experiments import progress
from experiments.benchmark import cases
from experiments.benchmark import contenders
from experiments.benchmark import timing
from limaml_jax import errors

_CASES = flags.DEFINE_list(
    'cases', [case.name for case in cases.CASES], 'Which cases to time.'
)
_NUM_STEPS = flags.DEFINE_list('num_steps', ['1', '5', '10'], 'Ks to time.')
_IMPLEMENTATIONS = flags.DEFINE_list(
    'implementations',
    list(contenders.IMPLEMENTATIONS),
    'plain or low_rank: all tasks in one program; auto: what training runs, '
    'in microbatches; joint: ordinary training.',
)
_FIRST_ORDER = flags.DEFINE_bool(
    'first_order', False, 'Times first-order meta-gradients.'
)
_REPEATS = flags.DEFINE_integer(
    'repeats', 5, 'Timed steps of each, in each of three turns.', lower_bound=1
)
_NUM_TASKS = flags.DEFINE_integer(
    'num_tasks', 256, 'T, tasks in a step.', lower_bound=1
)
_PEER = flags.DEFINE_enum(
    'peer', 'none', ['none', 'torch'], 'Also times torch.func.'
)
_PEER_PYTHON = flags.DEFINE_string(
    'peer_python', sys.executable, 'A Python that has torch.'
)

_NUM_TURNS = 3


def main() -> None:
  """Times the cases, and prints a line for each figure."""
  chosen = _chosen_cases()
  _check_implementations()
  nums_steps = _nums_steps()
  peak = timing.gemm_peak(_REPEATS.value)
  for case in chosen:
    with _peers(case, nums_steps) as peers:
      ours = contenders.ours(
          case,
          implementations=_IMPLEMENTATIONS.value,
          nums_steps=nums_steps,
          first_order=_FIRST_ORDER.value,
      )
      found = [*ours, *peers]
      _take_turns(case, found)
    for contender in found:
      print(json.dumps(_record(case, contender, peak)), flush=True)


def _peers(case: cases.Case, nums_steps: Sequence[int]):
  if _PEER.value == 'none':
    return contextlib.nullcontext(())
  return contenders.torchs(_PEER_PYTHON.value, case, nums_steps=nums_steps)


def _take_turns(
    case: cases.Case, found: Sequence[contenders.Contender]
) -> None:
  total = _NUM_TURNS * len(found)
  with progress.bar(f'benchmark {case.name}') as update:
    for turn in range(_NUM_TURNS):
      for n, contender in enumerate(found, 1):
        contender.seconds += contender.time(_REPEATS.value)
        update(turn * len(found) + n, total)


def _chosen_cases() -> list[cases.Case]:
  known = {case.name: case for case in cases.CASES}
  for name in _CASES.value:
    if name not in known:
      raise errors.InputError(
          f'--cases: no case {name}; choose from {", ".join(known)}'
      )
  return [
      dataclasses.replace(known[name], num_tasks=_NUM_TASKS.value)
      for name in _CASES.value
  ]


def _nums_steps() -> list[int]:
  numbers = _NUM_STEPS.value
  if not all(number.isdecimal() and int(number) for number in numbers):
    raise errors.InputError(
        f'--num_steps={",".join(numbers)}: must be whole numbers above 0'
    )
  return [int(number) for number in numbers]


def _check_implementations() -> None:
  for name in _IMPLEMENTATIONS.value:
    if name not in contenders.IMPLEMENTATIONS:
      raise errors.InputError(f'--implementations: there is no {name}')


def _record(
    case: cases.Case, contender: contenders.Contender, peak: float
) -> dict[str, object]:
  median = statistics.median(contender.seconds)
  return {
      'case': case.name,
      'implementation': contender.name,
      'order': contender.order,
      'num_tasks': case.num_tasks,
      'support': case.support,
      'query': case.query,
      'num_steps': contender.num_steps,
      **timing.in_ms(contender.seconds),
      'temp_bytes': contender.temp_bytes,
      'predicted_temp_bytes': contender.predicted_temp_bytes,
      'tasks_per_s': round(case.num_tasks / median, 1),
      'gflops_per_s': round(contender.flops / median / 1e9, 1),
      'gemm_peak_gflops_per_s': peak,
  }

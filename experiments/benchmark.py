r"""Times one meta-training step: inner loops, ordinary training, and a peer.

    python -m experiments.benchmark inner_loop --num_steps=1,5 \
        --peer=torch --peer_python=PATH

prints a JSON line for each case, implementation and K. Implementations of one
case take turns, so that what else the machine does falls on all of them alike,
a few steps at a time, as in training; compare figures of one run only.
`gflops_per_s` counts matrix products, and `gemm_peak_gflops_per_s` is what one
large product reaches in the same run.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import time

from absl import flags
import jax
import jax.numpy as jnp

from experiments import benchmark_cases
from experiments import binary
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.training import program

flags.adopt_module_key_flags(binary)

_CASES = flags.DEFINE_list(
    'cases',
    [case.name for case in benchmark_cases.CASES],
    'Which cases to time.',
)
_NUM_STEPS = flags.DEFINE_list('num_steps', ['1', '5', '10'], 'Ks to time.')
_IMPLEMENTATIONS = flags.DEFINE_list(
    'implementations',
    ['plain', 'low_rank', 'joint'],
    'plain, low_rank, auto, or joint: ordinary training.',
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
_PEAK_SIZE = 2048
_TORCH_PROGRAM = pathlib.Path(__file__).parent / 'torch_peer.py'

Record = dict[str, object]


@dataclasses.dataclass
class _Contender:
  """A compiled step of one implementation, and the times it took.

  Attributes:
    name: of the implementation.
    order: 'second', 'first' or 'joint'.
    num_steps: K, 0 for ordinary training.
    run: the step.
    prediction: of its products and its memory.
    temp_bytes: what XLA allocates for it.
    seconds: of each timed step.
  """

  name: str
  order: str
  num_steps: int
  run: Callable[[], None]
  prediction: program.Prediction
  temp_bytes: int
  seconds: list[float] = dataclasses.field(default_factory=list)


def main() -> None:
  """Times the cases, and prints a line for each figure."""
  cases = _chosen_cases()
  _check_implementations()
  _numbers_of_steps()
  peak = _gemm_peak()
  for case in cases:
    contenders = list(_contenders(case))
    for _ in range(_NUM_TURNS):
      for contender in contenders:
        contender.run()  # Takes its memory back from the one before.
        contender.seconds += [
            _time(contender.run) for _ in range(_REPEATS.value)
        ]
    for contender in contenders:
      _print(_record(case, contender, peak))
    if _PEER.value == 'torch':
      for record in _torch_records(case):
        _print(_comparable(record, case, peak))


def _chosen_cases() -> list[benchmark_cases.Case]:
  known = {case.name: case for case in benchmark_cases.CASES}
  for name in _CASES.value:
    if name not in known:
      raise errors.InputError(
          f'--cases: no case {name}; choose from {", ".join(known)}'
      )
  return [
      dataclasses.replace(known[name], num_tasks=_NUM_TASKS.value)
      for name in _CASES.value
  ]


def _numbers_of_steps() -> list[int]:
  numbers = _NUM_STEPS.value
  if not all(number.isdecimal() and int(number) for number in numbers):
    raise errors.InputError(
        f'--num_steps={",".join(numbers)}: must be whole numbers above 0'
    )
  return [int(number) for number in numbers]


def _check_implementations() -> None:
  for name in _IMPLEMENTATIONS.value:
    if name not in ('plain', 'low_rank', 'auto', 'joint'):
      raise errors.InputError(f'--implementations: there is no {name}')


def _contenders(case: benchmark_cases.Case) -> Iterator[_Contender]:
  """Compiles every implementation of one case."""
  params = benchmark_cases.make_params(case)
  batch = benchmark_cases.make_batch(case)
  order = 'first' if _FIRST_ORDER.value else 'second'
  for name in _IMPLEMENTATIONS.value:
    if name == 'joint':
      yield from _joint_contenders(case, params, batch)
      continue
    for num_steps in _numbers_of_steps():
      config = config_lib.InnerLoopConfig(
          num_steps=num_steps,
          learning_rate=benchmark_cases.INNER_RATE,
          first_order=_FIRST_ORDER.value,
          implementation=name,
      )
      step = benchmark_cases.make_step(case, config)
      yield _compile(name, order, num_steps, step, params, batch)


def _joint_contenders(case, params, batch) -> Iterator[_Contender]:
  for per_sample in sorted({case.per_sample, True}):
    name = 'joint_per_sample' if per_sample else 'joint_per_task'
    variant = dataclasses.replace(case, per_sample=per_sample)
    step = benchmark_cases.make_joint_step(variant)
    yield _compile(name, 'joint', 0, step, params, batch)


def _compile(name, order, num_steps, step, params, batch) -> _Contender:
  compiled = jax.jit(step).lower(params, batch).compile()

  def run() -> None:
    jax.block_until_ready(compiled(params, batch))

  run()
  memory = compiled.memory_analysis()
  return _Contender(
      name=name,
      order=order,
      num_steps=num_steps,
      run=run,
      prediction=program.predict(step, params, batch),
      temp_bytes=memory.temp_size_in_bytes if memory else 0,
  )


def _time(run: Callable[[], None]) -> float:
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def _record(
    case: benchmark_cases.Case, contender: _Contender, peak: float
) -> Record:
  median = statistics.median(contender.seconds)
  return {
      'case': case.name,
      'implementation': contender.name,
      'order': contender.order,
      'num_tasks': case.num_tasks,
      'support': case.support,
      'query': case.query,
      'num_steps': contender.num_steps,
      'step_ms_median': round(1e3 * median, 2),
      'step_ms_min': round(1e3 * min(contender.seconds), 2),
      'temp_bytes': contender.temp_bytes,
      'predicted_temp_bytes': contender.prediction.temp_bytes,
      'tasks_per_s': round(case.num_tasks / median, 1),
      'gflops_per_s': round(contender.prediction.flops / median / 1e9, 1),
      'gemm_peak_gflops_per_s': peak,
  }


def _gemm_peak() -> float:
  """Returns what one large product of float32 matrices reaches, Gflop/s."""
  matrix = jnp.ones((_PEAK_SIZE, _PEAK_SIZE))
  product = jax.jit(jnp.matmul)
  run = lambda: jax.block_until_ready(product(matrix, matrix))
  run()
  best = min(_time(run) for _ in range(_REPEATS.value))
  return round(2 * _PEAK_SIZE**3 / best / 1e9, 1)


def _torch_records(case: benchmark_cases.Case) -> Iterator[Record]:
  """Runs the peer in a process of its own, with the same shapes."""
  request = dataclasses.asdict(case) | {
      'num_steps': _numbers_of_steps(),
      'repeats': _REPEATS.value,
      'learning_rate': benchmark_cases.INNER_RATE,
  }
  result = subprocess.run(
      [_PEER_PYTHON.value, str(_TORCH_PROGRAM), json.dumps(request)],
      stdout=subprocess.PIPE,
      text=True,
      check=False,
  )
  if result.returncode:
    raise errors.InputError(
        f'--peer=torch: {_PEER_PYTHON.value} could not run it; install torch, '
        'or name a Python that has it by --peer_python'
    )
  for line in result.stdout.splitlines():
    yield json.loads(line)


def _comparable(
    record: Record, case: benchmark_cases.Case, peak: float
) -> Record:
  """Counts the peer's work as that of the plain form, which it does."""
  if record['order'] == 'joint':
    per_sample = record['implementation'] == 'torch_joint_per_sample'
    variant = dataclasses.replace(case, per_sample=per_sample)
    step = benchmark_cases.make_joint_step(variant)
  else:
    variant = case
    config = config_lib.InnerLoopConfig(
        num_steps=int(str(record['num_steps'])), implementation='plain'
    )
    step = benchmark_cases.make_step(case, config)
  flops = program.predict(
      step,
      benchmark_cases.make_params(variant),
      benchmark_cases.make_batch(variant),
  ).flops
  seconds = float(str(record['step_ms_median'])) / 1e3
  return record | {
      'temp_bytes': None,  # torch does not say.
      'gflops_per_s': round(flops / seconds / 1e9, 1),
      'gemm_peak_gflops_per_s': peak,
  }


def _print(record: Record) -> None:
  print(json.dumps(record), flush=True)


if __name__ == '__main__':
  binary.run(main, subject='inner_loop')

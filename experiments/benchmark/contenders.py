"""Who takes part in the inner loop's benchmark: our steps, and torch's."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import json
import pathlib
import subprocess

import jax

from experiments.benchmark import cases
from experiments.benchmark import timing
from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import meta_gradient
from limaml_jax.training import program

IMPLEMENTATIONS = ('plain', 'low_rank', 'auto', 'joint', 'generation')
_TORCH_PROGRAM = pathlib.Path(__file__).parent / 'torch_peer.py'
_WHOLE = 2**60  # A budget that no step exceeds.


@dataclasses.dataclass
class Contender:
  """A step of one implementation, and the times it took.

  Attributes:
    name: of the implementation.
    order: 'second', 'first', 'joint' or 'generation' (no meta-gradient).
    num_steps: K, 0 for ordinary training.
    time: runs it so many times, and returns the seconds of each.
    flops: of its matrix products, on all devices.
    temp_bytes: what XLA allocates for it, on all devices.
    predicted_temp_bytes: what we predict of that.
    seconds: of each timed step.
  """

  name: str
  order: str
  num_steps: int
  time: Callable[[int], list[float]]
  flops: int
  temp_bytes: int | None = None  # torch does not say.
  predicted_temp_bytes: int | None = None
  seconds: list[float] = dataclasses.field(default_factory=list)


def ours(
    case: cases.Case,
    *,
    implementations: Sequence[str],
    nums_steps: Sequence[int],
    first_order: bool,
) -> Iterator[Contender]:
  """Compiles each of our implementations of a case, on all devices."""
  order = 'first' if first_order else 'second'
  for name in implementations:
    if name == 'joint':
      for per_sample in sorted({case.per_sample, True}):
        joint = 'joint_per_sample' if per_sample else 'joint_per_task'
        variant = dataclasses.replace(case, per_sample=per_sample)
        loss = cases.make_joint_loss(variant)
        yield _compile(case, joint, 'joint', 0, loss, _WHOLE)
      continue
    for num_steps in nums_steps:
      generates = name == 'generation'
      config = config_lib.InnerLoopConfig(
          num_steps=num_steps,
          learning_rate=cases.INNER_RATE,
          first_order=first_order,
          implementation='auto' if generates else name,
      )
      if generates:
        step = cases.make_generation(case, config)
        yield _measure(case, 'auto', 'generation', num_steps, step)
        continue
      loss = cases.make_meta_loss(case, config)
      # As training runs it, or all tasks in one program.
      budget_bytes = 0 if name == 'auto' else _WHOLE
      yield _compile(case, name, order, num_steps, loss, budget_bytes)


def _compile(case, name, order, num_steps, loss, budget_bytes) -> Contender:
  mesh = mesh_lib.make_mesh(mesh_rows=1)
  step = mesh_lib.on_each_device(
      meta_gradient.make(loss, mesh=mesh, memory_budget_bytes=budget_bytes),
      mesh,
      in_specs=(mesh_lib.replicated(mesh), mesh_lib.by_task(mesh)),
      out_specs=mesh_lib.replicated(mesh),
  )
  return _measure(case, name, order, num_steps, step)


def _measure(case, name, order, num_steps, step) -> Contender:
  """Compiles a function of parameters and tasks, on all devices."""
  mesh = mesh_lib.make_mesh(mesh_rows=1)
  num_devices = mesh.devices.size
  params = jax.device_put(cases.make_params(case), mesh_lib.replicated(mesh))
  batch = jax.device_put(cases.make_batch(case), mesh_lib.by_task(mesh))
  compiled = jax.jit(step).lower(params, batch).compile()
  run = lambda: jax.block_until_ready(compiled(params, batch))
  memory = compiled.memory_analysis()
  # Of the program that each device runs.
  prediction = program.predict(step, params, batch)
  return Contender(
      name=name,
      order=order,
      num_steps=num_steps,
      time=lambda repeats: timing.time_steps(run, repeats),
      flops=num_devices * prediction.flops,
      temp_bytes=num_devices * memory.temp_size_in_bytes if memory else 0,
      predicted_temp_bytes=num_devices * prediction.temp_bytes,
  )


@contextlib.contextmanager
def torchs(
    python: str, case: cases.Case, *, nums_steps: Sequence[int]
) -> Iterator[list[Contender]]:
  """Holds torch.func's steps of a case, in a process that waits for turns."""
  request = dataclasses.asdict(case) | {
      'nums_steps': list(nums_steps),
      'learning_rate': cases.INNER_RATE,
  }
  with subprocess.Popen(
      [python, str(_TORCH_PROGRAM), json.dumps(request)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
  ) as process:
    ask = functools.partial(_ask, process, python)
    yield [
        Contender(
            name=name,
            order=order,
            num_steps=num_steps,
            time=lambda repeats, n=n: ask(f'{n} {repeats}'),
            flops=_plain_flops(case, name, num_steps),
        )
        for n, (name, order, num_steps) in enumerate(ask('names'))
    ]


def _ask(process: subprocess.Popen, python: str, line: str):
  assert process.stdin and process.stdout  # Pipes were asked for.
  try:
    process.stdin.write(f'{line}\n')
    process.stdin.flush()
    return json.loads(process.stdout.readline())
  except (OSError, ValueError) as error:
    with contextlib.suppress(OSError):
      process.stdin.close()  # What it did not read would raise again later.
    raise errors.InputError(
        f'--peer=torch: {python} could not run it; install torch, or name a '
        'Python that has it by --peer_python'
    ) from error


def _plain_flops(case: cases.Case, name: str, num_steps: int) -> int:
  """Counts the peer's work as that of the plain form, which it does."""
  if num_steps:
    config = config_lib.InnerLoopConfig(
        num_steps=num_steps, implementation='plain'
    )
    loss = cases.make_meta_loss(case, config)
  else:
    per_sample = name == 'torch_joint_per_sample'
    case = dataclasses.replace(case, per_sample=per_sample)
    loss = cases.make_joint_loss(case)
  step = jax.value_and_grad(loss, has_aux=True)
  arguments = cases.make_params(case), cases.make_batch(case)
  return program.predict(step, *arguments).flops

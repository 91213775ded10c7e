"""The benchmark's peer: the same step, as a PyTorch user writes it today.

Started by `experiments.benchmark inner_loop --peer=torch` with a case as JSON;
needs torch and nothing else. Answers each line of its input with a line:
`names` with [[implementation, order, K], ...], and `N REPEATS` with the seconds
of so many steps of the Nth.
"""

from collections.abc import Callable
import json
import math
import sys
import time

import torch
from torch import func
from torch.nn import functional

Layers = list[tuple[torch.Tensor, torch.Tensor]]
Params = list[Layers]


def make_layers(sizes: list[int]) -> Layers:
  """Returns kernels and biases of a stack of dense layers."""
  return [
      (torch.randn(i, o) / math.sqrt(i), torch.zeros(o))
      for i, o in zip(sizes[:-1], sizes[1:], strict=True)
  ]


def run_layers(layers: Layers, rows: torch.Tensor) -> torch.Tensor:
  """Maps rows, with ReLU between the layers."""
  *hidden, (kernel, bias) = layers
  for weight, offset in hidden:
    rows = torch.relu(rows @ weight + offset)
  return rows @ kernel + bias


def mean_loss(params: Params, inputs, features, labels) -> torch.Tensor:
  """Scores the rows of one task; one meta input serves all, or one each."""
  meta, deep, wide = params
  embedding = run_layers(meta, inputs).expand(features.shape[0], -1)
  rows = torch.cat([embedding, features], -1)
  logits = run_layers(deep, rows)[..., 0]
  if wide:
    logits = logits + run_layers(wide, rows)[..., 0]
  return functional.binary_cross_entropy_with_logits(logits, labels)


def adapt(
    meta: Layers, rest: Params, inputs, support, labels, num_steps, rate
) -> Layers:
  """Descends K steps on the support."""
  for _ in range(num_steps):
    grads = func.grad(mean_loss)([meta, *rest], inputs, support, labels)
    meta = [
        (weight - rate * dw, bias - rate * db)
        for (weight, bias), (dw, db) in zip(meta, grads[0], strict=True)
    ]
  return meta


def adapted_loss(params: Params, task, num_steps, rate) -> torch.Tensor:
  """Adapts the meta block on the support, and judges it on the query."""
  meta, *rest = params
  inputs, support, labels, query, query_labels = task
  meta = adapt(meta, rest, inputs, support, labels, num_steps, rate)
  return mean_loss([meta, *rest], inputs[-1:], query, query_labels)


def embedding(params: Params, task, num_steps, rate) -> torch.Tensor:
  """Adapts the meta block on the support, and returns its output."""
  meta, *rest = params
  inputs, support, labels, _, _ = task
  meta = adapt(meta, rest, inputs, support, labels, num_steps, rate)
  return run_layers(meta, inputs[-1:])[0]


def joint_loss(params: Params, task, per_sample) -> torch.Tensor:
  """Ordinary training on the rows of both sets."""
  inputs, support, support_labels, query, query_labels = task
  features = torch.cat([support, query])
  labels = torch.cat([support_labels, query_labels])
  inputs = inputs[:1]
  if per_sample:
    inputs = inputs.expand(features.shape[0], -1)
  return mean_loss(params, inputs, features, labels)


def all_at_once(loss: Callable, params: Params, tasks) -> Callable:
  """Returns a step over tasks that are mapped together."""
  over_tasks = func.vmap(loss, in_dims=(None, 0))
  step = func.grad_and_value(lambda p: torch.mean(over_tasks(p, tasks)))
  return lambda: step(params)


def without_gradient(embed: Callable, params: Params, tasks) -> Callable:
  """Returns the generation of embeddings of tasks that are mapped together."""
  over_tasks = func.vmap(embed, in_dims=(None, 0))
  return lambda: over_tasks(params, tasks)


def one_by_one(params: Params, tasks, num_steps, rate) -> Callable:
  """Returns a step over one task after another, by plain autograd."""
  meta, *rest = [
      [tuple(x.clone().requires_grad_() for x in layer) for layer in layers]
      for layers in params
  ]
  leaves = [x for layers in (meta, *rest) for layer in layers for x in layer]

  def descend(layers, inputs, features, labels):
    loss = mean_loss([layers, *rest], inputs, features, labels)
    flat = [x for layer in layers for x in layer]
    grads = torch.autograd.grad(loss, flat, create_graph=True)
    flat = [x - rate * grad for x, grad in zip(flat, grads, strict=True)]
    return list(zip(flat[::2], flat[1::2], strict=True))

  def step():
    for leaf in leaves:
      leaf.grad = None
    for task in zip(*tasks, strict=True):
      inputs, support, support_labels, query, query_labels = task
      layers = meta
      for _ in range(num_steps):
        layers = descend(layers, inputs, support, support_labels)
      loss = mean_loss([layers, *rest], inputs[-1:], query, query_labels)
      (loss / len(tasks[0])).backward()

  return step


def make_tasks(case: dict) -> tuple[torch.Tensor, ...]:
  """Returns random tasks: inputs, support and labels, query and labels."""
  num_tasks = case['num_tasks']
  num_inputs = case['support'] if case['per_sample'] else 1
  normal = lambda *shape: torch.randn(num_tasks, *shape)
  labels = lambda size: (torch.rand(num_tasks, size) < 0.3).float()
  return (
      normal(num_inputs, case['meta_features']),
      normal(case['support'], case['features']),
      labels(case['support']),
      normal(case['query'], case['features']),
      labels(case['query']),
  )


def make_params(case: dict) -> Params:
  """Returns the meta block, and the global block's deep and wide path."""
  meta_sizes = [case['meta_features'], *case['meta_widths']]
  num_inputs = meta_sizes[-1] + case['features']
  return [
      make_layers(meta_sizes),
      make_layers([num_inputs, *case['global_widths'], 1]),
      make_layers([num_inputs, 1]) if case['wide'] else [],
  ]


def make_steps(case: dict) -> dict[tuple[str, str, int], Callable]:
  """Returns the steps by implementation, order and K."""
  params, tasks = make_params(case), make_tasks(case)
  rate = case['learning_rate']
  steps = {}
  for k in case['nums_steps']:
    loss = lambda p, task, k=k: adapted_loss(p, task, k, rate)
    steps['torch_func', 'second', k] = all_at_once(loss, params, tasks)
    steps['torch_one_by_one', 'second', k] = one_by_one(params, tasks, k, rate)
    embed = lambda p, task, k=k: embedding(p, task, k, rate)
    steps['torch_func', 'generation', k] = without_gradient(
        embed, params, tasks
    )
  for name, per_sample in (('per_task', False), ('per_sample', True)):
    loss = lambda p, task, per_sample=per_sample: joint_loss(
        p, task, per_sample
    )
    steps[f'torch_joint_{name}', 'joint', 0] = all_at_once(loss, params, tasks)
  return steps


def time_steps(step: Callable, repeats: int) -> list[float]:
  """Returns the seconds of some steps, after one untimed."""
  step()
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    step()
    seconds.append(time.perf_counter() - start)
  return seconds


def main() -> None:
  """Answers lines about the case that the first argument describes."""
  torch.manual_seed(0)
  steps = make_steps(json.loads(sys.argv[1]))
  for line in sys.stdin:
    answer = list(steps)
    if line.strip() != 'names':
      n, repeats = map(int, line.split())
      answer = time_steps(list(steps.values())[n], repeats)
    print(json.dumps(answer), flush=True)


if __name__ == '__main__':
  main()

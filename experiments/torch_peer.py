"""The benchmark's peer: the same step, as a PyTorch user writes it today.

Started by `experiments.benchmark --peer=torch` with a case as JSON; needs torch
and nothing else. Prints a JSON line for each implementation and K.
"""

from collections.abc import Callable
import json
import math
import statistics
import sys
import time

import torch
from torch import func
from torch.nn import functional

Layers = list[tuple[torch.Tensor, torch.Tensor]]


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


def mean_loss(meta, glob, inputs, features, labels) -> torch.Tensor:
  """Scores the rows of one task; one meta input serves all, or one each."""
  embedding = run_layers(meta, inputs).expand(features.shape[0], -1)
  logits = run_layers(glob, torch.cat([embedding, features], -1))[..., 0]
  return functional.binary_cross_entropy_with_logits(logits, labels)


def adapted_loss(params, task, num_steps, rate) -> torch.Tensor:
  """Adapts the meta block on the support, and judges it on the query."""
  meta, glob = params
  inputs, support, support_labels, query, query_labels = task
  for _ in range(num_steps):
    grads = func.grad(mean_loss)(meta, glob, inputs, support, support_labels)
    meta = [
        (weight - rate * dw, bias - rate * db)
        for (weight, bias), (dw, db) in zip(meta, grads, strict=True)
    ]
  return mean_loss(meta, glob, inputs[-1:], query, query_labels)


def joint_loss(params, task, per_sample) -> torch.Tensor:
  """Ordinary training on the rows of both sets."""
  inputs, support, support_labels, query, query_labels = task
  features = torch.cat([support, query])
  labels = torch.cat([support_labels, query_labels])
  inputs = inputs[:1]
  if per_sample:
    inputs = inputs.expand(features.shape[0], -1)
  return mean_loss(*params, inputs, features, labels)


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


def time_steps(loss: Callable, params, tasks, repeats: int) -> list[float]:
  """Times value and gradient of the mean loss over tasks, in seconds."""
  over_tasks = func.vmap(loss, in_dims=(None, 0))
  step = func.grad_and_value(lambda p: torch.mean(over_tasks(p, tasks)))
  step(params)
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    step(params)
    seconds.append(time.perf_counter() - start)
  return seconds


def main() -> None:
  """Times the case that the first argument describes."""
  case = json.loads(sys.argv[1])
  torch.manual_seed(0)
  meta_sizes = [case['meta_features'], *case['meta_widths']]
  num_inputs = meta_sizes[-1] + case['features']
  params = (
      make_layers(meta_sizes),
      make_layers([num_inputs, *case['global_widths'], 1]),
  )
  tasks = make_tasks(case)
  losses = {}
  for k in case['num_steps']:
    losses['torch_func', 'second', k] = lambda p, task, k=k: adapted_loss(
        p, task, k, case['learning_rate']
    )
  for name, per_sample in (('per_task', False), ('per_sample', True)):
    losses[f'torch_joint_{name}', 'joint', 0] = (
        lambda p, task, per_sample=per_sample: joint_loss(p, task, per_sample)
    )
  for (name, order, k), loss in losses.items():
    seconds = time_steps(loss, params, tasks, case['repeats'])
    median = statistics.median(seconds)
    record = {
        'case': case['name'],
        'implementation': name,
        'order': order,
        'num_tasks': case['num_tasks'],
        'support': case['support'],
        'query': case['query'],
        'num_steps': k,
        'step_ms_median': round(1e3 * median, 2),
        'step_ms_min': round(1e3 * min(seconds), 2),
        'tasks_per_s': round(case['num_tasks'] / median, 1),
    }
    print(json.dumps(record), flush=True)


if __name__ == '__main__':
  main()

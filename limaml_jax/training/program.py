"""Predicts what a program computes and holds, from its trace, uncompiled.

XLA fuses elementwise operations into their consumers. What it does write to
memory are the operands and results of matrix products, reductions, gathers and
loops. Those are the buffers here; each lives from where it is made to where it
is last read, through whatever was fused between. The largest sum of living
buffers is the prediction. How near it comes to XLA's own figure on CPU is told
in docs/low_rank_inner_loop.md.
"""

from collections.abc import Callable
from collections.abc import Iterator
import math
from typing import NamedTuple

import jax
from jax.extend import core

_PRODUCTS = ('dot_general', 'row_matmul')
# Not elementwise: XLA writes what these return.
_WRITERS = (
    *_PRODUCTS,
    'reduce_sum', 'reduce_max', 'argmax', 'gather', 'scatter', 'scatter-add',
    'scan', 'while', 'sort', 'cumsum', 'concatenate', 'dynamic_update_slice',
)  # fmt: skip
# Of these the operands are written too, be they elementwise results.
_READERS = (
    *_PRODUCTS,
    'reduce_sum', 'gather', 'scatter', 'scatter-add', 'scan', 'sort',
)  # fmt: skip
_VIEWS = ('reshape', 'squeeze', 'expand_dims', 'broadcast_in_dim', 'transpose')


class Prediction(NamedTuple):
  """Of one run of a program.

  Attributes:
    flops: of its matrix products.
    temp_bytes: largest sum of living buffers, arguments and results aside.
  """

  flops: int
  temp_bytes: int


class _Value(NamedTuple):
  number: int
  num_bytes: int


class _Operation(NamedTuple):
  name: str
  operands: list[_Value]
  results: list[_Value]
  flops: int
  inner_bytes: int


def predict(function: Callable, *arguments) -> Prediction:
  """Predicts one call of a jittable function on arguments of such shapes."""
  return _predict(jax.make_jaxpr(function)(*arguments).jaxpr)


def _predict(jaxpr: core.Jaxpr) -> Prediction:
  values = _Values()
  arguments = {values.of(v) for v in (*jaxpr.invars, *jaxpr.constvars)}
  operations = list(_flatten(jaxpr, values))
  results = {values.of(v) for v in jaxpr.outvars if isinstance(v, core.Var)}
  operations = _reachable(operations, results)
  return Prediction(
      flops=sum(operation.flops for operation in operations),
      temp_bytes=_largest_sum(operations, arguments | results),
  )


class _Values:
  """Numbers the values of a program, through the calls in it."""

  def __init__(self):
    self._known = {}
    self._count = 0

  def new(self, variable: core.Var) -> _Value:
    """Numbers what an operation returns; shared callees return anew."""
    self._count += 1
    item_size = getattr(getattr(variable.aval, 'dtype', None), 'itemsize', 0)
    value = _Value(self._count, math.prod(_shape(variable)) * item_size)
    self._known[variable] = value
    return value

  def of(self, variable: core.Var) -> _Value:
    return self._known.get(variable) or self.new(variable)

  def alias(self, variable: core.Var, value: _Value | None) -> None:
    if value is None:
      self.new(variable)
    else:
      self._known[variable] = value

  def read(self, atom: core.Var | core.Literal) -> _Value | None:
    return self.of(atom) if isinstance(atom, core.Var) else None


def _shape(atom: core.Var | core.Literal) -> tuple[int, ...]:
  return getattr(atom.aval, 'shape', ())  # Tokens have none.


def _flatten(jaxpr: core.Jaxpr, values: _Values) -> Iterator[_Operation]:
  """Yields the operations of a program, calls replaced by what they call."""
  for equation in jaxpr.eqns:
    callee = _callee(equation)
    if callee is None:
      yield _operation(equation, values)
      continue
    for inner, outer in zip(callee.invars, equation.invars, strict=True):
      values.alias(inner, values.read(outer))
    yield from _flatten(callee, values)
    for outer, inner in zip(equation.outvars, callee.outvars, strict=True):
      values.alias(outer, values.read(inner))


def _callee(equation: core.JaxprEqn) -> core.Jaxpr | None:
  if equation.primitive.name in ('scan', 'while', 'cond'):
    return None  # Not once, or not all of it.
  for name in ('jaxpr', 'call_jaxpr', 'fun_jaxpr'):
    called = equation.params.get(name)
    if called is not None:
      return getattr(called, 'jaxpr', called)
  return None


def _operation(equation: core.JaxprEqn, values: _Values) -> _Operation:
  name = equation.primitive.name
  if name in _PRODUCTS and _contracted_size(equation) == 1:
    name = 'mul'  # Outer products are fused like any elementwise operation.
  operands = [values.read(atom) for atom in equation.invars]
  flops = inner_bytes = 0
  if name in _PRODUCTS:
    flops = _product_flops(equation)
  elif name == 'scan':
    inner = _predict(equation.params['jaxpr'].jaxpr)
    flops = inner.flops * equation.params['length']
    inner_bytes = inner.temp_bytes
  return _Operation(
      name=name,
      operands=[value for value in operands if value],
      results=[values.new(variable) for variable in equation.outvars],
      flops=flops,
      inner_bytes=inner_bytes,
  )


def _product_flops(equation: core.JaxprEqn) -> int:
  size = _contracted_size(equation)
  return 2 * size * math.prod(_shape(equation.outvars[0]))


def _contracted_size(equation: core.JaxprEqn) -> int:
  shape = _shape(equation.invars[0])
  contracted = (len(shape) - 1,)
  if equation.primitive.name == 'dot_general':
    contracted = equation.params['dimension_numbers'][0][0]
  return math.prod(shape[axis] for axis in contracted)


def _reachable(
    operations: list[_Operation], results: set[_Value]
) -> list[_Operation]:
  """Leaves out what no result depends on."""
  needed, kept = set(results), []
  for operation in reversed(operations):
    if needed.intersection(operation.results):
      needed.update(operation.operands)
      kept.append(operation)
  return kept[::-1]


def _largest_sum(
    operations: list[_Operation], elsewhere: set[_Value]
) -> int:
  """Returns the most bytes that buffers hold together at any operation."""
  made_by = {v: op for op in operations for v in op.results}
  buffers = set(elsewhere)
  for operation in operations:
    if operation.name in _WRITERS:
      buffers.update(operation.results)
    if operation.name in _READERS:
      viewed = (_viewed(v, made_by) for v in operation.operands)
      buffers.update(v for v in viewed if v in made_by)
  sources = _Sources(made_by, buffers)
  last_read = {}
  for time, operation in enumerate(operations):
    if buffers.intersection(operation.results):
      for value in operation.operands:
        last_read.update(dict.fromkeys(sources.of(value), time))
  held = largest = 0
  released = {}
  for time, operation in enumerate(operations):
    for value in operation.results:
      if value in buffers - elsewhere and value in last_read:
        held += value.num_bytes
        end = released.setdefault(last_read[value], [])
        end.append(value.num_bytes)
    largest = max(largest, held + operation.inner_bytes)
    held -= sum(released.pop(time, ()))
  return largest


def _viewed(value: _Value, made_by: dict[_Value, _Operation]) -> _Value:
  while value in made_by and made_by[value].name in _VIEWS:
    if not made_by[value].operands:
      break
    value = made_by[value].operands[0]
  return value


class _Sources:
  """Finds the buffers behind values that are never written."""

  def __init__(self, made_by, buffers):
    self._made_by = made_by
    self._buffers = buffers
    self._known = {}

  def of(self, value: _Value) -> frozenset[_Value]:
    if value in self._buffers or value not in self._made_by:
      return frozenset({value})
    if value not in self._known:
      operands = self._made_by[value].operands
      self._known[value] = frozenset().union(*map(self.of, operands))
    return self._known[value]

"""Outer steps on meshes of fake devices; run as a process of its own.

  JAX_NUM_CPU_DEVICES=8 python -m tests.training.sharded_run

prints one JSON object: what lay where, and how far the results were from those
of one device. The devices of a process cannot be changed once it has begun.
"""

import json
import re

import jax
from jax.sharding import AxisType
import numpy as np

from experiments.benchmark import collectives
from limaml_jax import types
from limaml_jax.blocks import model as model_lib
from limaml_jax.meta import outer_loop
from limaml_jax.meta import task_loss
from limaml_jax.training import mesh as mesh_lib
from limaml_jax.training import optimizer as optimizer_lib
from limaml_jax.training import row_exchange
from limaml_jax.training import state as state_lib
from tests.training import small_run

NUM_ROWS = 4096  # Too many to be gathered whole, so that rows are looked for.
# By optimizer, (tasks, rows) of each mesh; the others must equal the first one.
# In the last, what is read lies on few devices: it takes rounds to fetch it.
MESHES = {
    'adam': ((1, 1), (1, 4), (2, 4), (8, 1)),
    'row_wise_adagrad': ((1, 1), (2, 4)),
    'adam_of_one_block': ((1, 1), (1, 8), (4, 2)),
}
LARGER = (2, 4)  # Is compiled for a larger table as well.
TIMES_LARGER = 16
_NUM_STEPS = 3
_DEVIATIONS = row_exchange._DEVIATIONS


def make_batch(num_rows, *, in_one_block=False):
  """Returns 8 tasks; some table rows occur again and again, some rows never."""
  rng = np.random.default_rng(0)
  within = num_rows // 16 if in_one_block else num_rows
  ages = rng.normal(size=(8, 1)).astype(np.float32)

  def examples(size):
    anywhere = rng.integers(0, within, (8, size), np.int32)
    often = rng.choice([3, within // 2, within - 1], (8, size))
    ids = np.where(rng.random((8, size)) < 0.5, anywhere, often)
    return types.Examples(
        meta_features={'user': {'age': ages}},
        features={'item': np.where(rng.random((8, size)) < 0.1, -1, ids)},
        labels=(rng.random((8, size)) < 0.3).astype(np.float32),
        mask=np.ones((8, size), np.float32),
    )

  return types.Episode(examples(6), examples(4), np.ones(8, np.float32))


def compile_update(shape, name, num_rows):
  """Returns a state on a mesh, the compiled update of it, and a batch."""
  table_optimizer, _, in_one_block = name.partition('_of_')
  # Messages of such small size have room for all, otherwise.
  row_exchange._DEVIATIONS = 0 if in_one_block else _DEVIATIONS
  config = small_run.make_config(
      model__max_table_dimension=4,
      outer_loop__table_optimizer=table_optimizer,
      training__mesh_rows=8,  # Tables of one size on every mesh.
  )
  num_devices = shape[0] * shape[1]
  mesh = jax.make_mesh(
      shape,
      (mesh_lib.TASKS, mesh_lib.ROWS),
      axis_types=(AxisType.Auto, AxisType.Auto),
      devices=jax.devices()[:num_devices],
  )
  model = model_lib.make_model(
      config,
      specs=(
          types.FeatureSpec('age', 'numeric', 'entity', 'meta'),
          types.FeatureSpec('item', 'categorical', 'item', 'global', num_rows),
      ),
      entity_type='user',
      entity_feature='user',
  )
  optimizers = state_lib.Optimizers(
      dense=optimizer_lib.dense_optimizer(config.outer_loop, num_steps=10),
      table=optimizer_lib.table_optimizer(config.outer_loop, num_steps=10),
  )
  create, shardings = state_lib.make_create(model.init, optimizers, mesh)
  state = create(jax.random.key(0))
  update = state_lib.make_meta_update(
      outer_loop.make_meta_loss(
          encode=model.encode,
          loss_fn=task_loss.make_task_loss(model.embed, model.inner_logit),
          query_loss_fn=task_loss.make_query_loss(
              model.embed, model.logit, pooling='latest'
          ),
          config=config.inner_loop,
      ),
      optimizers,
      index=model.index,
      shardings=shardings,
      mesh=mesh,
  )
  batch = mesh_lib.put_by_task(
      make_batch(num_rows, in_one_block=bool(in_one_block)), mesh
  )
  return state, update.lower(state, batch).compile(), batch


def by_rows(state):
  """Returns every array that has a row for each row of the table."""
  leaves = jax.tree_util.tree_leaves_with_path(
      (state.params.tables, state.table_opt_states)
  )
  return {
      jax.tree_util.keystr(path): leaf
      for path, leaf in leaves
      if leaf.shape[:1] == (NUM_ROWS,)
  }


def shard_rows(state):
  """Returns the sizes of the shards of each row-wise array, device by device.

  A shard that two devices hold is told twice.
  """
  return {
      name: [shard.data.shape[0] for shard in leaf.addressable_shards]
      for name, leaf in by_rows(state).items()
  }


def largest_leading_axis(compiled):
  """Returns the most rows of any array in the program of one device."""
  text = re.sub(r'metadata=\{[^}]*\}', '', compiled.as_text())
  shapes = re.findall(r'\b(?:f32|s32|u32|pred)\[([\d,]+)\]', text)
  return max(int(size) for shape in shapes for size in shape.split(','))


def describe(compiled):
  """Returns what a compiled update needs on one device."""
  memory = compiled.memory_analysis()
  sent = collectives.read(compiled.as_text())
  return {
      'sent_bytes': sum(collective.sent_bytes for collective in sent),
      'temp_bytes': memory.temp_size_in_bytes,
      'alias_bytes': memory.alias_size_in_bytes,
      'argument_bytes': memory.argument_size_in_bytes,
      'largest_axis': largest_leading_axis(compiled),
  }


def run(shape, name):
  """Takes a few steps, and returns the last state and what was seen."""
  state, compiled, batch = compile_update(shape, name, NUM_ROWS)
  seen = describe(compiled) | {'before': shard_rows(state)}
  given = by_rows(state)
  for _ in range(_NUM_STEPS):
    state, metrics = compiled(state, batch)
  seen['given_is_deleted'] = all(leaf.is_deleted() for leaf in given.values())
  seen['after'] = shard_rows(state)
  seen['meta_loss'] = float(metrics.meta_loss)
  dense = jax.tree.leaves(state.params._replace(tables={}))
  seen['dense_bytes'] = sum(leaf.nbytes for leaf in dense)
  return jax.device_get(state), seen


def distances(state, other):
  """Returns how far each array of a state is from that of another."""
  far = jax.tree.map(
      lambda a, b: float(np.max(np.abs(np.float64(a) - b))), state, other
  )
  leaves = jax.tree_util.tree_leaves_with_path(far)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def main():
  """Prints what was found on each mesh."""
  found = {'num_devices': jax.device_count()}
  for name, shapes in MESHES.items():
    one_device = None
    for shape in shapes:
      state, seen = run(shape, name)
      one_device = one_device or state
      seen['distances'] = distances(state, one_device)
      found[f'{name} {shape[0]}x{shape[1]}'] = seen
    if LARGER in shapes:
      _, compiled, _ = compile_update(LARGER, name, TIMES_LARGER * NUM_ROWS)
      found[f'{name} larger'] = describe(compiled)
  print(json.dumps(found))


if __name__ == '__main__':
  main()

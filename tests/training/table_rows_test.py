import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from limaml_jax import config as config_lib
from limaml_jax import types
from limaml_jax.blocks import encoder
from limaml_jax.training import optimizer as optimizer_lib
from limaml_jax.training import table_rows

_DIMENSION = 2
_TABLE_SIZES = (('whole', 7), ('distinct', 3000))
# Of 2 tasks; rows 1, 3 and 6 are read, 3 often, and -1 reads nothing.
_SUPPORT_IDS = ((3, 3, -1), (6, -1, 3))
_QUERY_IDS = ((1, 3), (6, 6))
_READ = (1, 3, 6)


@functools.cache
def make_optimizer(name):
  config = config_lib.OuterLoopConfig(
      table_optimizer=name,
      table_learning_rate=0.1,
      weight_decay=0.1,
      warmup_fraction=0.0,
  )
  return optimizer_lib.table_optimizer(config, num_steps=10)


def make_table(num_rows):
  rng = np.random.default_rng(num_rows)
  return jnp.asarray(rng.normal(size=(num_rows, _DIMENSION)), jnp.float32)


def make_opt_state(optimizer, table):
  """Returns the state after two dense steps: no moment is 0."""
  state = optimizer.init(table)
  for scale in (1.0, -0.3):
    _, state = optimizer.update(scale * jnp.cos(table), state, table)
  return state


def make_episode(support_ids=_SUPPORT_IDS, query_ids=_QUERY_IDS):
  def examples(ids):
    ids = jnp.asarray(ids)
    indexed = encoder.IndexedFeatures(
        ids={'table': ids[..., None]}, numeric=jnp.zeros((*ids.shape, 0))
    )
    nothing = encoder.IndexedFeatures({}, jnp.zeros((*ids.shape[:1], 1, 0)))
    return types.Examples(
        meta_features={'user': nothing},
        features=indexed,
        labels=jnp.zeros(ids.shape),
        mask=jnp.ones(ids.shape),
    )

  return types.Episode(
      examples(support_ids), examples(query_ids), jnp.ones(2)
  )


def loss(tables, episode):
  """Reads every row that the episode names, each with a weight of its own."""
  total = 0.0
  for scale, examples in ((1.0, episode.support), (10.0, episode.query)):
    ids = examples.features.ids['table'].ravel()
    rows = jnp.where((ids >= 0)[:, None], tables['table'][ids], 0)
    weights = scale * (1.0 + jnp.arange(ids.size))
    total += jnp.sum(weights[:, None] * jnp.sin(rows))
  return total


class GatherTest(parameterized.TestCase):

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_renumbered_rows_are_the_same(self, num_rows):
    table = make_table(num_rows)
    episode = make_episode()
    gathered = table_rows.gather({'table': table}, episode)
    for part in ('support', 'query'):
      ids = getattr(episode, part).features.ids['table']
      renumbered = getattr(gathered.episodes, part).features.ids['table']
      np.testing.assert_array_equal(renumbered < 0, ids < 0)
      real = ids >= 0
      np.testing.assert_array_equal(
          gathered.rows['table'][renumbered[real]], table[ids[real]]
      )

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_indices_are_the_rows_that_occur(self, num_rows):
    table = make_table(num_rows)
    gathered = table_rows.gather({'table': table}, make_episode())
    indices = np.asarray(gathered.indices['table'])
    np.testing.assert_array_equal(np.sort(indices[indices < num_rows]), _READ)

  def test_large_table_is_not_gathered_whole(self):
    table = make_table(3000)
    gathered = table_rows.gather({'table': table}, make_episode())
    # 6 support and 4 query slots.
    chex.assert_shape(gathered.rows['table'], (10, _DIMENSION))

  def test_all_else_passes_through(self):
    episode = make_episode()
    gathered = table_rows.gather({'table': make_table(7)}, episode)
    strip = lambda e: e._replace(
        support=e.support._replace(features=()),
        query=e.query._replace(features=()),
    )
    chex.assert_trees_all_equal(strip(gathered.episodes), strip(episode))


class AdamUpdateTest(parameterized.TestCase):
  optimizer = 'adam'

  def step(self, num_rows, episode):
    """Returns (table, state) before, after, and after a dense step."""
    optimizer = make_optimizer(self.optimizer)
    table = make_table(num_rows)
    state = make_opt_state(optimizer, table)
    gathered = table_rows.gather({'table': table}, episode)
    gradient = jax.grad(loss)(gathered.rows, gathered.episodes)['table']
    after = table_rows.update(
        optimizer,
        table,
        state,
        gathered.rows['table'],
        gradient,
        gathered.indices['table'],
    )[:2]
    dense_gradient = jax.grad(loss)({'table': table}, episode)['table']
    updates, dense_state = optimizer.update(dense_gradient, state, table)
    dense = optax.apply_updates(table, updates), dense_state
    return (table, state), after, dense

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_rows_that_were_read_step_as_in_a_dense_update(self, num_rows):
    _, after, dense = self.step(num_rows, make_episode())
    chex.assert_trees_all_close(
        rows_of(after, num_rows, _READ),
        rows_of(dense, num_rows, _READ),
        rtol=1e-5,
    )

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_other_rows_stay_bit_for_bit(self, num_rows):
    before, after, dense = self.step(num_rows, make_episode())
    others = np.setdiff1d(np.arange(num_rows), _READ)
    expected = rows_of(before, num_rows, others)
    self.assertLen(jax.tree.leaves(expected), 2)
    chex.assert_trees_all_equal(rows_of(after, num_rows, others), expected)
    # A dense update would have moved them.
    moved = jnp.abs(dense[0] - before[0])[others]
    self.assertGreater(float(moved.min()), 0.0)

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_step_counts_go_on(self, num_rows):
    _, after, dense = self.step(num_rows, make_episode())
    scalars = lambda tree: [x for x in jax.tree.leaves(tree) if not x.ndim]
    self.assertNotEmpty(scalars(dense))
    chex.assert_trees_all_equal(scalars(after), scalars(dense))

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_episode_that_reads_nothing_changes_no_row(self, num_rows):
    nothing = make_episode(((-1, -1, -1),) * 2, ((-1, -1),) * 2)
    before, after, _ = self.step(num_rows, nothing)
    everything = np.arange(num_rows)
    chex.assert_trees_all_equal(
        rows_of(after, num_rows, everything),
        rows_of(before, num_rows, everything),
    )

  @parameterized.named_parameters(*_TABLE_SIZES)
  def test_last_row_is_a_row_like_any_other(self, num_rows):
    last = num_rows - 1
    episode = make_episode(((last, -1, -1),) * 2, ((last, -1),) * 2)
    _, after, dense = self.step(num_rows, episode)
    chex.assert_trees_all_close(
        rows_of(after, num_rows, [last]), rows_of(dense, num_rows, [last]),
        rtol=1e-5,
    )


class RowWiseAdagradUpdateTest(AdamUpdateTest):
  optimizer = 'row_wise_adagrad'


def rows_of(tree, num_rows, rows):
  """Takes rows of every array that has one per row of the table."""
  take = lambda x: x[np.asarray(rows)] if x.shape[:1] == (num_rows,) else None
  return jax.tree.map(take, tree)


if __name__ == '__main__':
  absltest.main()

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from limaml_jax.refresh import generate
from limaml_jax.training import assembly as assembly_lib
from tests.training import small_run

_NUM_ENTITIES = 30


@functools.cache
def make_config(**settings):
  defaults = {
      'inner_loop__learning_rate': 3.0,
      'refresh__entities_per_chunk': 32,
      'model__meta_block__kind': 'id_embedding',
  }
  return small_run.make_config(**defaults | settings)


@functools.cache
def make_assembly(config):
  _, info = small_run.make_data()
  return assembly_lib.assemble(config, info)


@functools.cache
def make_params(config):
  """Returns parameters of which none is zero."""
  init = make_assembly(config).model.init
  shapes = jax.eval_shape(init, jax.random.key(0))
  rng = np.random.default_rng(0)
  normal = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)
  return jax.tree.map(normal, shapes)


@functools.cache
def make_embed_chunk(config):
  assembly = make_assembly(config)
  return generate.make_embed_chunk(
      assembly.model,
      loss_fn=assembly.loss_fn,
      entity_type='user',
      config=config,
  )


def run(table, cutoffs, *, config=None, **kwargs):
  """Returns vectors and watermarks in the order of entities."""
  config = config or make_config()
  assembly = make_assembly(config)
  plan = generate.make_plan(table, cutoffs, config=config)
  chunks = list(
      generate.generate(
          table,
          make_params(config),
          plan,
          embed_chunk=make_embed_chunk(config),
          names=assembly.names,
          entity_type='user',
          config=config,
          **kwargs,
      )
  )
  entities = np.concatenate([chunk.entities for chunk in chunks])
  np.testing.assert_array_equal(np.sort(entities), np.arange(_NUM_ENTITIES))
  order = np.argsort(entities)
  vectors = np.concatenate([chunk.vectors for chunk in chunks])
  return vectors[order], plan.watermarks


def middle_time(table):
  """A time at which there are events, with some before and some after."""
  return int(np.sort(table.timestamps)[table.timestamps.size // 2])


def alter(table, events):
  """Gives the events other targets, items and (in later seconds) times."""
  targets, times = table.targets.copy(), table.timestamps.copy()
  targets[events] = 1 - targets[events]
  times[events] += 1
  features = {}
  for name, values in table.event_features.items():
    features[name] = values.copy()
    features[name][events] = 1 + values[events] % 3
  return table._replace(
      targets=targets, timestamps=times, event_features=features
  )


class LeakTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.table, _ = small_run.make_data()
    self.cutoff = middle_time(self.table)

  def test_events_from_the_cutoff_on_change_no_embedding(self):
    later = self.table.timestamps >= self.cutoff
    self.assertTrue((self.table.timestamps[later] == self.cutoff).any())
    expected = run(self.table, self.cutoff)
    found = run(alter(self.table, later), self.cutoff)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])

  def test_events_before_the_cutoff_do(self):
    earlier = self.table.timestamps < self.cutoff
    later = ~earlier
    altered = alter(self.table, earlier)._replace(
        timestamps=self.table.timestamps
    )
    with_support = np.unique(
        np.repeat(np.arange(_NUM_ENTITIES), np.diff(self.table.offsets))[
            earlier
        ]
    )
    self.assertNotEmpty(np.flatnonzero(later))
    difference = np.abs(
        run(altered, self.cutoff)[0] - run(self.table, self.cutoff)[0]
    ).max(axis=1)
    self.assertGreater(difference[with_support].min(), 1e-6)

  def test_every_entity_may_have_its_own_cutoff(self):
    late, early = self.cutoff + 1, 0
    cutoffs = np.where(np.arange(_NUM_ENTITIES) % 2, late, early)
    vectors, watermarks = run(self.table, cutoffs)
    for parity, cutoff in enumerate((early, late)):
      expected = run(self.table, cutoff)
      np.testing.assert_array_equal(
          vectors[parity::2], expected[0][parity::2]
      )
      np.testing.assert_array_equal(
          watermarks[parity::2], expected[1][parity::2]
      )


class WatermarkTest(absltest.TestCase):

  def test_is_the_time_of_the_latest_event_used(self):
    table, _ = small_run.make_data()
    cutoff = middle_time(table)
    _, watermarks = run(table, cutoff)
    for n, watermark in enumerate(watermarks):
      own = table.timestamps[table.offsets[n] : table.offsets[n + 1]]
      used = own[own < cutoff]
      self.assertEqual(watermark, used.max() if used.size else -1)


def unadapted(config, *, user_ids, ages):
  """Returns e(theta) of entities: row, offset and network of the age."""
  params = make_params(config)
  block = params.meta_block['user']
  place = make_assembly(config).model.layout['user_id']
  rows = params.tables[place.table][place.offset + user_ids]
  hidden, last = (block['_Mlp_0'][name] for name in ('Dense_0', 'Dense_1'))
  standardized = (ages - 40.0) / 10.0
  attributes = jax.nn.relu(
      standardized[:, None] @ hidden['kernel'] + hidden['bias']
  )
  attributes = attributes @ last['kernel'] + last['bias']
  return rows + block['offset'] + attributes


class UnadaptedTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.table, _ = small_run.make_data()
    self.expected = unadapted(
        make_config(),
        user_ids=self.table.entity_features['user_id'],
        ages=self.table.entity_features['age'],
    )

  def test_entity_without_support_has_the_unadapted_embedding(self):
    vectors, watermarks = run(self.table, int(self.table.timestamps.min()))
    np.testing.assert_array_equal(watermarks, -1)
    chex.assert_trees_all_close(vectors, self.expected, rtol=1e-4, atol=1e-6)

  def test_with_support_it_moves(self):
    vectors, watermarks = run(self.table, middle_time(self.table))
    moved = np.abs(vectors - self.expected).max(axis=1)
    self.assertGreater(moved[watermarks >= 0].min(), 1e-4)


class VaryingInputsTest(parameterized.TestCase):
  """The meta block reads the colors of events too: R = S."""

  def test_entity_without_support_has_no_color_but_its_age(self):
    config = small_run.make_config(
        model__meta_block__pooling='mean',
        model__meta_block__widths=(),
        refresh__entities_per_chunk=32,
    )
    table, info = small_run.make_data()
    *others, colors = info.features
    colors = dataclasses.replace(colors, role='both')
    info = dataclasses.replace(info, features=(*others, colors))
    assembly = assembly_lib.assemble(config, info)
    params = assembly.model.init(jax.random.key(0))
    embed_chunk = generate.make_embed_chunk(
        assembly.model,
        loss_fn=assembly.loss_fn,
        entity_type='user',
        config=config,
    )
    (chunk,) = generate.generate(
        table,
        params,
        generate.make_plan(table, int(table.timestamps.min()), config=config),
        embed_chunk=embed_chunk,
        names=assembly.names,
        entity_type='user',
        config=config,
    )
    ages = table.entity_features['age'][chunk.entities]
    kernel = params.meta_block['user']['Dense_0']['kernel']
    # Columns of the input: the age, then the mean of no color, which is 0.
    expected = (ages[:, None] - 40.0) / 10.0 * kernel[0]
    chex.assert_trees_all_close(chunk.vectors, expected, rtol=1e-4, atol=1e-6)


class ChunkTest(absltest.TestCase):

  def test_size_of_chunks_does_not_matter(self):
    table, _ = small_run.make_data()
    small = make_config(refresh__entities_per_chunk=7)
    expected, _ = run(table, middle_time(table))
    found, _ = run(table, middle_time(table), config=small)
    np.testing.assert_allclose(found, expected, atol=1e-6)

  def test_the_same_support_is_padded_alike_every_day(self):
    table, _ = small_run.make_data()
    config = make_config(episodes__support_buckets=(24,))
    days = np.quantile(table.timestamps, (0.5, 0.7, 1.0)).astype(int)
    padded = set()
    for cutoff in days:
      plan = generate.make_plan(table, int(cutoff), config=config)
      sizes, _ = plan.index.sizes()
      for part in plan.parts:
        padded |= {(int(n), part.num_support) for n in sizes[part.entities]}
    sizes = [size for size, _ in padded]
    self.assertGreater(len(sizes), 12)
    self.assertCountEqual(sizes, set(sizes))

  def test_company_does_not_matter(self):
    # To the bit: an incremental refresh makes what a full one makes.
    table, _ = small_run.make_data()
    cutoff = middle_time(table)
    expected, _ = run(table, cutoff)
    chosen = np.arange(_NUM_ENTITIES)[::3]
    config = make_config()
    plan = generate.make_plan(
        table, cutoff, config=config, choose=lambda watermarks: chosen
    )
    chunks = generate.generate(
        table,
        make_params(config),
        plan,
        embed_chunk=make_embed_chunk(config),
        names=make_assembly(config).names,
        entity_type='user',
        config=config,
    )
    found = {
        entity: vector
        for chunk in chunks
        for entity, vector in zip(chunk.entities, chunk.vectors, strict=True)
    }
    self.assertCountEqual(found, chosen)
    for entity, vector in found.items():
      np.testing.assert_array_equal(vector, expected[entity])


class DefaultEmbeddingTest(parameterized.TestCase):

  def embed(self, config):
    table, _ = small_run.make_data()
    assembly = make_assembly(config)
    return generate.default_embedding(
        table,
        make_params(config),
        embed_chunk=make_embed_chunk(config),
        names=assembly.names,
        entity_type='user',
        config=config,
    )

  def test_is_that_of_an_unknown_entity_of_average_age(self):
    config = make_config()
    expected = unadapted(
        config, user_ids=np.zeros(1, int), ages=np.full(1, 40.0)
    )
    chex.assert_trees_all_close(
        self.embed(config), expected[0], rtol=1e-4, atol=1e-6
    )


if __name__ == '__main__':
  absltest.main()

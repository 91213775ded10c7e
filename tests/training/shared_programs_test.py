"""Runs of one process share what they trace and compile."""

import gc
import weakref

from absl.testing import absltest
import chex
import jax
import numpy as np

from limaml_jax import overrides
from limaml_jax.refresh import generate
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import loop
from tests.training import small_run


class SharedProgramsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    _, self.info = small_run.make_data()
    self.config = small_run.make_config()

  def prepare(self, **settings):
    changed = {name.replace('__', '.'): x for name, x in settings.items()}
    config = overrides.override(self.config, changed)
    assembly = assembly_lib.assemble(config, self.info)
    return assembly, *loop.prepare_update(config, assembly, num_steps=3)

  def embed_chunk(self, assembly, seed):
    config = overrides.override(self.config, {'training.seed': seed})
    return generate.make_embed_chunk(
        assembly.model,
        loss_fn=assembly.loss_fn,
        entity_type=self.info.entity_type,
        config=config,
    )

  def test_seeds_share_all_but_the_state(self):
    assembly, state, _, update = self.prepare(training__seed=1)
    other, other_state, _, other_update = self.prepare(training__seed=2)
    self.assertIs(other_update, update)
    self.assertIs(
        self.embed_chunk(other, seed=2), self.embed_chunk(assembly, seed=1)
    )
    with self.assertRaises(AssertionError):
      chex.assert_trees_all_close(other_state.params, state.params)

  def test_a_seed_starts_alike_each_time(self):
    states = [self.prepare(training__seed=1)[1] for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, *states)

  def test_other_settings_share_nothing(self):
    *_, update = self.prepare()
    for settings in (
        {'outer_loop__learning_rate': 0.5}, {'inner_loop__num_steps': 3}
    ):
      *_, other = self.prepare(**settings)
      self.assertIsNot(other, update)

  def test_programs_of_many_networks_are_let_go(self):
    # Each holds thousands of memory mappings, of which there are few.
    update = self.prepare()[-1]
    chunk = self.embed_chunk(self.prepare()[0], seed=0)
    held = [weakref.ref(update), weakref.ref(chunk)]
    del update, chunk
    for rate in range(2, 12):
      assembly, *_ = self.prepare(inner_loop__learning_rate=float(rate))
      changed = {'inner_loop.learning_rate': float(rate)}
      generate.make_embed_chunk(
          assembly.model,
          loss_fn=assembly.loss_fn,
          entity_type=self.info.entity_type,
          config=overrides.override(self.config, changed),
      )
    gc.collect()
    self.assertEqual([ref() for ref in held], [None, None])

  def test_other_numbers_of_steps_share_no_schedule(self):
    assembly, *_, update = self.prepare()
    *_, other = loop.prepare_update(self.config, assembly, num_steps=4)
    self.assertIsNot(other, update)


if __name__ == '__main__':
  absltest.main()

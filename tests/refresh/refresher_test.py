import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from limaml_jax.blocks import ensemble
from limaml_jax.data import episodes
from limaml_jax.data import recency
from limaml_jax.meta import inner_loop
from limaml_jax.store import lookup
from limaml_jax.training import assembly as assembly_lib
from tests import serving_line
from tests.training import small_run

_HISTORIES = ('deep_sets', 'transformer')
# By kind of meta block, and what is special: its inputs vary from event to
# event, or only the history encoder reads them.
_KINDS = (
    'id_embedding',
    'mlp varying',
    'mlp recency',
    'deep_sets recency',
    'transformer varying',
    'transformer amortized',
    'mlp bilinear',
    'id_embedding ensemble',
    'transformer ensemble',
)


@functools.cache
def make_config(kind):
  block, _, extra = kind.partition(' ')
  ages = {'days': 2.0, 'events': 3.0} if extra == 'recency' else {}
  return small_run.make_config(
      model__meta_block__kind=block,
      model__meta_block__pooling='latest' if block in _HISTORIES else 'mean',
      model__meta_block__history_width=4,
      model__global_block__bilinear=extra == 'bilinear',
      model__ensemble_size=3 if extra == 'ensemble' else 1,
      inner_loop__num_steps=0 if extra == 'amortized' else 2,
      inner_loop__learning_rate=3.0,
      inner_loop__prior_rows=2.0,
      inner_loop__learned_rates=True,
      refresh__entities_per_chunk=32,
      **{f'episodes__support_half_life_{n}': age for n, age in ages.items()},
  )


def make_data(kind):
  """Returns the data; the meta block may read the colors of events too."""
  table, info = small_run.make_data()
  if kind.endswith('varying'):
    *others, colors = info.features
    colors = dataclasses.replace(colors, role='both')
    info = dataclasses.replace(info, features=(*others, colors))
  return table, info


@functools.cache
def make_params(kind):
  _, info = make_data(kind)
  init = assembly_lib.assemble(make_config(kind), info).model.init
  shapes = jax.eval_shape(init, jax.random.key(0))
  rng = np.random.default_rng(0)
  normal = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)
  return jax.tree.map(normal, shapes)


def score_as_in_training(assembly, params, episode, config):
  """Adapts to a support and scores its query by the loss of each row."""
  support = assembly.model.encode(params, episode.support)
  query = assembly.model.encode(params, episode.query)
  adapted, _ = inner_loop.adapt(
      params.meta_block,
      params.global_block,
      support,
      loss_fn=assembly.loss_fn,
      learning_rates=inner_loop.make_learning_rates(
          params.meta_block, params.inner_rates, config.inner_loop
      ),
      prior_rows=config.inner_loop.prior_rows,
  )

  def score_row(mask):
    # The loss of one row of label 1 is the negative log of its score.
    row = query._replace(labels=jnp.ones_like(mask), mask=mask)
    loss = assembly.query_loss_fn(adapted, params.global_block, support, row)
    return jnp.exp(-loss)

  return jax.vmap(score_row)(jnp.eye(query.mask.size))


class PublishTestCase(parameterized.TestCase):

  def make_line(self, kind, **kwargs):
    return serving_line.make_line(
        *make_data(kind),
        make_params(kind),
        config=make_config(kind),
        store=self.create_tempdir().full_path,
        **kwargs,
    )


class ParityTest(PublishTestCase):

  def training_scores(self, kind, cutoff):
    """Returns the scores of all events from the cutoff on, in order."""
    table, info = make_data(kind)
    config = make_config(kind)
    assembly = assembly_lib.assemble(config, info)
    entities = np.arange(len(table.entity_keys))
    index = episodes.make_index(
        table,
        entities,
        cutoff,
        support_cap=8,
        query_start=episodes.first_at_or_after(table, entities, cutoff),
        query_stop=table.offsets[1:],
    )
    episode = episodes.assemble(
        table,
        index,
        names=assembly.names,
        entity_type='user',
        num_support=8,
        num_query=24,
        weights=np.ones(entities.size),
        half_lives=recency.half_lives(config.episodes),
    )
    indexed = episode._replace(
        support=assembly.model.index(episode.support),
        query=assembly.model.index(episode.query),
    )
    score = functools.partial(score_as_in_training, assembly, config=config)
    score_all = jax.jit(jax.vmap(score, in_axes=(None, 0)))
    size = config.model.ensemble_size
    by_member = [
        score_all(ensemble.member(make_params(kind), m, size), indexed)
        for m in range(size)
    ]
    logits = np.mean([special.logit(scores) for scores in by_member], axis=0)
    scores = special.expit(logits)
    return scores[episode.query.mask > 0]

  @parameterized.parameters(*_KINDS)
  def test_served_scores_are_those_of_the_training_path(self, kind):
    table, _ = make_data(kind)
    cutoff = int(np.median(table.timestamps))
    line = self.make_line(kind)
    line.refresher.publish(cutoff)
    entity = np.repeat(
        np.arange(len(table.entity_keys)), np.diff(table.offsets)
    )
    events = np.flatnonzero(table.timestamps >= cutoff)
    found = line.look_up(table.entity_keys[entity[events]].tolist(), cutoff)
    np.testing.assert_array_equal(found.statuses, lookup.Status.PRESENT)
    features = {
        name: table.event_features[name][events]
        for name in line.assembly.names.regular
    }
    scores = line.score(found.vectors, features)
    expected = self.training_scores(kind, cutoff)
    self.assertGreater(np.std(expected), 0.05)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


class AdaptationTest(PublishTestCase):

  def test_is_of_the_half_lives_of_support_rows(self):
    # They change embeddings, of which none may then be carried over.
    adaptations = {
        self.make_line(kind).refresher.adaptation
        for kind in ('mlp', 'mlp recency')
    }
    self.assertLen(adaptations, 2)


class UnadaptedTest(PublishTestCase):

  def test_embeddings_are_those_of_the_shared_initialization(self):
    table, _ = make_data('mlp')
    cutoff = int(np.median(table.timestamps))
    line = self.make_line('mlp', adapt=False)
    line.refresher.publish(cutoff)
    found = line.look_up(table.entity_keys.tolist(), cutoff)
    block = make_params('mlp').meta_block['user']
    hidden, last = block['Dense_0'], block['Dense_1']
    ages = (table.entity_features['age'][:, None] - 40.0) / 10.0
    rows = jax.nn.relu(ages @ hidden['kernel'] + hidden['bias'])
    expected = rows @ last['kernel'] + last['bias']
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-4, atol=1e-6)

  @parameterized.parameters('transformer varying', 'transformer amortized')
  def test_histories_and_inputs_of_events_tell_nothing(self, kind):
    table, _ = make_data(kind)
    line = self.make_line(kind, adapt=False)
    cutoff = int(np.median(table.timestamps))
    line.refresher.publish(cutoff)
    found = line.look_up(table.entity_keys.tolist(), cutoff)
    self.assertGreater(np.count_nonzero(found.ages), 5)  # They have events.
    # As where nobody has any yet.
    earliest = line.refresher.plan(int(table.timestamps[0]))
    vectors = [c.vectors for c in line.refresher.generate(earliest)]
    np.testing.assert_allclose(
        found.vectors, np.concatenate(vectors), atol=1e-6
    )
    adapted = self.make_line(kind).refresher
    self.assertNotEqual(line.refresher.adaptation, adapted.adaptation)


class PublishTest(PublishTestCase):

  def setUp(self):
    super().setUp()
    self.table, _ = small_run.make_data()
    self.cutoff = int(np.median(self.table.timestamps))
    self.line = self.make_line('id_embedding')
    self.manifest = self.line.refresher.publish(self.cutoff)

  def test_unknown_entity_gets_the_default_embedding(self):
    found = self.line.look_up(['nobody'], self.cutoff)
    np.testing.assert_array_equal(found.statuses, lookup.Status.MISSING)
    expected = np.asarray(self.manifest.default_embedding, np.float32)
    np.testing.assert_array_equal(found.vectors[0], expected)
    self.assertGreater(np.abs(expected).max(), 0.0)

  def test_age_counts_from_the_latest_event_used(self):
    found = self.line.look_up(self.table.entity_keys.tolist(), self.cutoff)
    for n, age in enumerate(found.ages):
      own = slice(self.table.offsets[n], self.table.offsets[n + 1])
      times = self.table.timestamps[own]
      used = times[times < self.cutoff]
      expected = self.cutoff - used.max() if used.size else 0
      self.assertEqual(age, expected)

  def test_manifest_says_what_was_published(self):
    used = self.table.timestamps[self.table.timestamps < self.cutoff]
    self.assertEqual(self.manifest.watermark, used.max())
    self.assertEqual(self.manifest.cutoff, self.cutoff)
    self.assertEqual(self.manifest.count, len(self.table.entity_keys))
    self.assertEqual(self.manifest.fingerprint, self.line.refresher.fingerprint)

  def test_next_refresh_is_what_is_served(self):
    self.line.refresher.publish(self.cutoff + 600)
    keys = self.table.entity_keys.tolist()
    found = self.line.look_up(keys, self.cutoff + 600)
    self.assertEqual(found.version, '00000002')

  def test_progress_ends_with_all_entities(self):
    seen = []
    self.line.refresher.publish(
        self.cutoff, on_progress=lambda done, total: seen.append((done, total))
    )
    self.assertEqual(seen[-1], (30, 30))

  def test_fingerprint_is_not_of_the_meta_block(self):
    params = make_params('id_embedding')
    other = jax.tree.map(lambda x: x + 1.0, params.meta_block)
    changed = serving_line.make_line(
        *make_data('id_embedding'),
        params._replace(meta_block=other),
        config=make_config('id_embedding'),
        store=self.line.store,
    )
    expected = self.line.refresher.fingerprint
    self.assertEqual(changed.refresher.fingerprint, expected)

  @parameterized.parameters(*_HISTORIES)
  def test_history_encoder_is_part_of_the_adaptation_alone(self, kind):
    params = make_params(kind)
    other = jax.tree.map(lambda x: x + 1.0, params.history)
    one, another = (
        serving_line.make_line(
            *make_data(kind), p, config=make_config(kind), store=self.line.store
        ).refresher
        for p in (params, params._replace(history=other))
    )
    self.assertEqual(one.fingerprint, another.fingerprint)
    self.assertNotEqual(one.adaptation, another.adaptation)

  def test_embeddings_of_another_global_block_are_not_used(self):
    params = make_params('id_embedding')
    other = jax.tree.map(lambda x: x + 1.0, params.global_block)
    changed = serving_line.make_line(
        *make_data('id_embedding'),
        params._replace(global_block=other),
        config=make_config('id_embedding'),
        store=self.line.store,
    )
    found = changed.look_up(['u0001'], self.cutoff)
    np.testing.assert_array_equal(
        found.statuses, lookup.Status.VERSION_MISMATCH
    )


if __name__ == '__main__':
  absltest.main()

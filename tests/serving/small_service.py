"""A service of random models, and the scores that it must answer."""

import asyncio
import pathlib
import time
from unittest import mock

from absl.testing import parameterized
import numpy as np
import prometheus_client

from limaml_jax.serving import metrics as metrics_lib
from limaml_jax.serving import request as request_lib
from limaml_jax.serving import runner as runner_lib
from limaml_jax.serving import service as service_lib
from limaml_jax.serving import settings as settings_lib
from limaml_jax.store import lookup
from tests import drawn_bundle
from tests import small_bundle

ITEMS = 5  # Candidates of each request.
PRESENT = lookup.Status.PRESENT


class ServiceTestCase(parameterized.TestCase):
  """Exports, publishes, serves and asks."""

  def setUp(self):
    super().setUp()
    # One size is soon compiled.
    patch = mock.patch.object(runner_lib, '_ROWS', (8,))
    patch.start()
    self.addCleanup(patch.stop)
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    self.root = self.dir / 'bundle'
    self.store = f'lmdb:{self.dir / "store"}'
    self.registry = prometheus_client.CollectorRegistry()

  def export(self, seed, **changes):
    return drawn_bundle.write(
        self.root, drawn_bundle.make_model(seed), **changes
    )

  def publish(self, seed, **changes):
    return drawn_bundle.publish(self.store, seed, **changes)

  def serve(self, *, clock=time.time, **settings):
    """Returns a service; its store answers before the first request."""
    service = service_lib.Service(
        self.root,
        settings_lib.Settings(
            store=self.store, deadline_seconds=10.0, max_entities=2, **settings
        ),
        metrics_lib.Metrics(self.registry),
        clock=clock,
    )
    self.addCleanup(service.close)
    return service

  def metric(self, name, **labels):
    return self.registry.get_sample_value(name, labels)

  def request(self, keys=('u0003',)):
    candidates = [small_bundle.item_key(n) for n in range(1, ITEMS + 1)]
    return request_lib.make(
        list(keys),
        candidates * len(keys),
        {},
        limits=settings_lib.Settings(store='x'),
    )

  def ask(self, service, keys=('u0003',), **options):
    return asyncio.run(service.score(self.request(keys), **options))

  def assert_scored(self, scored, *, model, embeddings=None, key='u0003'):
    """Asserts that a model scored with its own embeddings, or the default."""
    np.testing.assert_allclose(
        scored.scores, expected(model, embeddings, key), atol=1e-6
    )
    self.assertEqual(
        scored.fingerprint, drawn_bundle.make_model(model).fingerprint
    )


def expected(model, embeddings=None, key='u0003'):
  """Returns the scores of the candidates of a request.

  Args:
    model: seed of the one that scores.
    embeddings: seed of those that it reads; None for the default one.
    key: of the entity.
  """
  made = drawn_bundle.make_model(model)
  vectors = made.default[None]
  if embeddings is not None:
    row = drawn_bundle.entity_keys().index(key)
    vectors = drawn_bundle.draw_embeddings(30, embeddings)[[row]]
  table = drawn_bundle.parts()[0]
  items = small_bundle.items(table)
  of_entity = {
      name: values[drawn_bundle.entity_keys().index(key)]
      for name, values in table.entity_features.items()
  }
  where = [
      items.keys.tolist().index(small_bundle.item_key(n))
      for n in range(1, ITEMS + 1)
  ]
  features = {}
  for spec in made.half.specs:
    if spec.owner == 'item':
      features[spec.name] = items.features[spec.name][where]
    elif spec.owner == 'entity':
      features[spec.name] = np.repeat(of_entity[spec.name], ITEMS)
    else:
      features[spec.name] = np.zeros(ITEMS, np.int32)
  rows = np.zeros(ITEMS, np.int32)
  return drawn_bundle.expected_scores(made, vectors, rows, features)

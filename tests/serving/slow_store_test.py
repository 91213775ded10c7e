"""A store that is late, once or for long, or tells what is no vector."""

import asyncio
import collections
import threading
from unittest import mock

from absl.testing import absltest
import numpy as np

from limaml_jax.serving import embeddings as embeddings_lib
from limaml_jax.serving import features
from limaml_jax.serving import service as service_lib
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from tests import drawn_bundle
from tests.serving import small_service

_DEADLINE = 0.02


class SlowTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.failures = collections.Counter()
    self.answer = threading.Event()
    self.num_asked = 0

  def make(self, store):
    made = embeddings_lib.Embeddings(
        store,
        'user',
        deadline_seconds=_DEADLINE,
        on_failure=lambda reason: self.failures.update([reason]),
    )
    self.addCleanup(made.close)
    self.addCleanup(self.answer.set)  # Before its threads are waited for.
    return made

  def wait(self, keys, now=0):
    del keys, now
    self.num_asked += 1
    self.answer.wait()

  def look_up(self, made):
    return asyncio.run(made.lookup(['u0001'], 0))

  def test_late_three_times_in_a_row_is_left_alone(self):
    made = self.make('redis://127.0.0.1:1/0')
    with mock.patch.object(made, '_ask', self.wait):
      for _ in range(5):
        self.assertIsNone(self.look_up(made))
    self.assertEqual(self.num_asked, 3)
    # All are late, those that were not asked, too.
    self.assertEqual(self.failures, {'slow': 5})

  def test_an_answer_in_between_begins_anew(self):
    made = self.make('redis://127.0.0.1:1/0')
    for _ in range(3):
      with mock.patch.object(made, '_ask', self.wait):
        self.assertIsNone(self.look_up(made))
        self.assertIsNone(self.look_up(made))
      self.answer.set()  # Or its threads are all in use in the end.
      with mock.patch.object(made, '_ask', return_value='found'):
        self.assertEqual(self.look_up(made), 'found')
      self.answer.clear()

  def test_a_late_disk_is_waited_for_by_a_thread_until_it_is_quick(self):
    made = self.make('lmdb:nowhere')
    where = []

    def answer(keys, now):
      del keys, now
      where.append(threading.current_thread() is threading.main_thread())
      if len(where) == 1:
        threading.Event().wait(2 * _DEADLINE)  # A disk that sleeps.
      return 'found'

    made._reader = mock.Mock(lookup=answer, close=lambda: None)
    for _ in range(3):
      self.assertEqual(self.look_up(made), 'found')
    self.assertEqual(where, [True, False, True])


class ServiceTest(small_service.ServiceTestCase):

  def publish_broken(self):
    """Publishes embeddings, of which that of u0003 is no vector."""
    keys = drawn_bundle.entity_keys()
    vectors = drawn_bundle.draw_embeddings(len(keys), 0)
    vectors[keys.index('u0003'), 1] = np.nan
    store = address.open_backend(self.store)
    manifest = snapshot.write(
        store,
        'user',
        [record.Chunk(keys, vectors, np.zeros(len(keys), np.int64))],
        default_embedding=drawn_bundle.make_model(0).default,
        fingerprint=drawn_bundle.make_model(0).fingerprint,
        cutoff=drawn_bundle.CUTOFF,
        created=drawn_bundle.CUTOFF,
        finite=False,
    )
    store.publish('user', manifest.version)

  def test_what_is_no_vector_is_never_served(self):
    self.export(0)
    self.publish_broken()
    scored = self.ask(self.serve(), keys=['u0003', 'u0007'])
    found = [lookup.Status(status).name for status in scored.statuses]
    self.assertEqual(found, ['UNAVAILABLE', 'PRESENT'])
    self.assertEqual(scored.ages[0], -1)
    np.testing.assert_allclose(
        scored.scores,
        np.concatenate([
            small_service.expected(0),
            small_service.expected(0, 0, 'u0007'),
        ]),
        atol=1e-6,
    )
    failures = self.metric('limaml_store_failures_total', reason='corrupt')
    self.assertEqual(failures, 1)

  def test_what_nobody_thought_of_fails_its_own_request_alone(self):
    self.export(0)
    self.publish(0)
    service = self.serve()
    odd, plain = self.request(['u0007']), self.request(['u0003'])
    join = features.join

    def sometimes(bundle, request):
      if request is odd:
        raise ZeroDivisionError('odd')
      return join(bundle, request)

    async def ask_both():
      return await asyncio.gather(
          service.score(odd), service.score(plain), return_exceptions=True
      )

    with mock.patch.object(service_lib.features, 'join', sometimes):
      failed, scored = asyncio.run(ask_both())
    self.assertIsInstance(failed, ZeroDivisionError)
    self.assert_scored(scored, model=0, embeddings=0)


if __name__ == '__main__':
  absltest.main()

import asyncio
import collections
import os
import pathlib
import tempfile
import time
from unittest import mock

from absl.testing import absltest
import numpy as np

from limaml_jax.serving import embeddings as embeddings_lib
from tests import drawn_bundle
from tests.store import redis_server

_PATIENCE_SECONDS = 20
_NOW = drawn_bundle.CUTOFF + 60


class EmbeddingsTestCase(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.failures = collections.Counter()
    # A store that failed is asked again sooner than when it serves.
    patch = mock.patch.object(embeddings_lib, '_RETRY_SECONDS', 0.1)
    patch.start()
    self.addCleanup(patch.stop)

  def make(self, store, deadline_seconds=5.0):
    made = embeddings_lib.Embeddings(
        store,
        'user',
        deadline_seconds=deadline_seconds,
        on_failure=lambda reason: self.failures.update([reason]),
    )
    self.addCleanup(made.close)
    return made

  def look_up(self, made, keys=('u0001',)):
    return asyncio.run(made.lookup(list(keys), _NOW))

  def await_answer(self, made, version=None):
    """Asks until the store answers."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
      found = self.look_up(made)
      if found is not None and version in (None, found.version):
        return found
      time.sleep(0.02)
    raise AssertionError('the store does not come back')

  def assert_first_model(self, found):
    np.testing.assert_array_equal(
        found.vectors, drawn_bundle.draw_embeddings(2, seed=0)[1:]
    )


class LmdbTest(EmbeddingsTestCase):

  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.create_tempdir().full_path) / 'store'
    self.store = f'lmdb:{self.path}'

  def snapshot_file(self, version):
    return self.path / 'user' / 'snapshots' / version / 'data.mdb'

  def test_what_is_published_is_found(self):
    drawn_bundle.publish(self.store, seed=0)
    made = self.make(self.store)
    made.open()
    found = self.look_up(made)
    self.assert_first_model(found)
    self.assertEqual(found.ages.tolist(), [60])
    self.assertEmpty(self.failures)

  def test_down_at_the_start_then_up(self):
    made = self.make(self.store)
    with self.assertLogs('limaml_jax', 'WARNING') as logs:
      made.open()
      self.assertIsNone(self.look_up(made))
    self.assertLen(logs.output, 1)
    self.assertIn('no snapshot is published', logs.output[0])
    self.assertGreater(self.failures['down'], 1)
    drawn_bundle.publish(self.store, seed=0)
    self.assert_first_model(self.await_answer(made))

  def test_a_corrupt_snapshot_is_no_error_and_mended_by_the_next(self):
    drawn_bundle.publish(self.store, seed=0)
    made = self.make(self.store)
    self.assert_first_model(self.await_answer(made))
    version = drawn_bundle.publish(self.store, seed=1)
    # Torn after it was published, and before it is read.
    os.truncate(self.snapshot_file(version), 4096)
    self.assertIsNone(self.look_up(made))
    self.assertEqual(self.failures, {'down': 1})
    fixed = drawn_bundle.publish(self.store, seed=0)
    self.assert_first_model(self.await_answer(made, fixed))

  def test_an_outage_is_logged_once_and_so_is_its_end(self):
    drawn_bundle.publish(self.store, seed=0)
    made = self.make(self.store)
    self.look_up(made)
    pointer = self.path / 'user' / 'CURRENT'
    hidden = pointer.with_name('hidden')
    for _ in range(2):  # The same reason, twice.
      with self.assertLogs('limaml_jax', 'WARNING') as logs:
        pointer.rename(hidden)
        self.assertIsNone(self.look_up(made))
        made._retry_at = 0.0  # As though time had passed.
        self.assertIsNone(self.look_up(made))
        hidden.rename(pointer)
        self.await_answer(made)
      self.assertLen(logs.output, 2)
      self.assertIn('default embeddings stand in', logs.output[0])
      self.assertIn('answers again', logs.output[1])

  def test_a_failed_store_is_left_alone_for_a_moment(self):
    made = self.make(self.store)
    self.look_up(made)
    with mock.patch.object(made, '_ask', side_effect=AssertionError) as asked:
      self.assertIsNone(self.look_up(made))
    asked.assert_not_called()

  def test_what_nobody_thought_of_is_no_error_either(self):
    made = self.make(self.store)
    with mock.patch.object(made, '_ask', side_effect=RuntimeError('odd')):
      self.assertIsNone(self.look_up(made))
    self.assertEqual(self.failures, {'down': 1})


class RedisTest(EmbeddingsTestCase):

  def start(self, **options):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    server = redis_server.Server(folder.name, **options)
    self.addCleanup(server.kill)
    return server

  def test_restarted(self):
    server = self.start()
    drawn_bundle.publish(server.url, seed=0)
    made = self.make(server.url)
    self.assert_first_model(self.await_answer(made))
    server.kill()
    self.assertIsNone(self.look_up(made))
    self.assertEqual(self.failures['down'], 1)
    server.start()
    drawn_bundle.publish(server.url, seed=0)
    self.assert_first_model(self.await_answer(made))

  def test_slow_the_default_stands_in_within_the_deadline(self):
    server = self.start()
    drawn_bundle.publish(server.url, seed=0)
    made = self.make(server.url, deadline_seconds=0.3)
    self.assert_first_model(self.await_answer(made))
    self.failures.clear()
    server.freeze()
    for _ in range(6):  # More than there are threads.
      made._retry_at = 0.0
      start = time.monotonic()
      self.assertIsNone(self.look_up(made))
      self.assertBetween(time.monotonic() - start, 0.3, 1.0)
    self.assertEqual(self.failures, {'slow': 6})
    start = time.monotonic()
    self.assertIsNone(self.look_up(made))  # Not asked at all.
    self.assertLess(time.monotonic() - start, 0.25)
    server.thaw()
    self.assert_first_model(self.await_answer(made))

  def test_a_pause_of_clients_is_slow(self):
    server = self.start()
    drawn_bundle.publish(server.url, seed=0)
    made = self.make(server.url, deadline_seconds=0.2)
    self.await_answer(made)
    server.admin().execute_command('CLIENT', 'PAUSE', 1000, 'ALL')
    self.assertIsNone(self.look_up(made))
    self.assertEqual(self.failures['slow'], 1)
    self.assert_first_model(self.await_answer(made))

  def test_a_wrong_password_is_not_told(self):
    server = self.start(requirepass='open sesame')
    with mock.patch.dict(os.environ, LIMAML_REDIS_PASSWORD='hunter2'):
      made = self.make(server.url)
    with self.assertLogs(level='DEBUG') as logs:
      made.open()
      made._retry_at = 0.0
      self.assertIsNone(self.look_up(made))
    told = '\n'.join(logs.output)
    self.assertIn('store: ', told)
    self.assertNotIn('hunter2', told)
    self.assertNotIn('sesame', told)

  def test_many_first_requests_open_one_reader(self):
    server = self.start()
    drawn_bundle.publish(server.url, seed=0)
    made = self.make(server.url)
    real = embeddings_lib.lookup_lib.Reader
    with mock.patch.object(
        embeddings_lib.lookup_lib, 'Reader', side_effect=real
    ) as opened:

      async def ask():
        return await asyncio.gather(
            *(made.lookup(['u0001'], _NOW) for _ in range(8))
        )

      for found in asyncio.run(ask()):
        self.assert_first_model(found)
    self.assertEqual(opened.call_count, 1)


if __name__ == '__main__':
  absltest.main()

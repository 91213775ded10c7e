"""Versions and snapshots change while many ask: each answer is of one pair."""

import asyncio
import collections
import contextlib
import threading

from absl.testing import absltest
import numpy as np

from limaml_jax.store import address
from limaml_jax.store import snapshot
from tests import drawn_bundle
from tests.serving import small_service

_SECONDS_AT_MOST = 60
_NUM_TASKS = 8
_NUM_CHANGES = 12
_KEYS = ('u0003', 'u0007', 'u0003')


def whole_answers():
  """Returns the scores of each pair that may answer, by what it says."""
  return {
      f'model {seed}': np.concatenate(
          [small_service.expected(seed, seed, key) for key in _KEYS]
      )
      for seed in (0, 1, 2)
  }


class ConcurrencyTest(small_service.ServiceTestCase):

  def setUp(self):
    super().setUp()
    self.answers = whole_answers()
    self.seen = collections.Counter()
    self.wrong = []
    self.news = threading.Condition()
    self.stop = threading.Event()
    self.export(0)
    self.publish(0)

  def request(self, keys=_KEYS[:2]):
    return super().request(keys)

  def note(self, scored, num_keys):
    """Takes note of an answer that is not of exactly one pair."""
    known = self.answers[scored.fingerprint][: len(scored.scores)]
    is_whole = np.allclose(scored.scores, known, atol=1e-6)
    is_present = not scored.statuses.any()
    with self.news:
      if is_whole and is_present and len(scored.statuses) == num_keys:
        self.seen[scored.fingerprint] += 1
      else:
        self.wrong.append(scored)
      self.news.notify_all()

  async def ask_on(self, service):
    request = self.request()
    while not self.stop.is_set():
      self.note(await service.score(request), 2)
      await asyncio.sleep(0)

  async def ask_in_tasks(self, service):
    await asyncio.gather(*(self.ask_on(service) for _ in range(_NUM_TASKS)))

  def change(self, service):
    """Exports before it publishes, rolls back, and again."""
    backend = address.open_backend(self.store)
    first = backend.current('user')
    for n in range(1, _NUM_CHANGES):
      before = sum(self.seen.values())
      seed = n % 3
      if n % 4 == 3:
        snapshot.publish(backend, 'user', first)
      else:
        self.export(seed)
        service.versions.poll()
        drawn_bundle.publish(self.store, seed)
      self.await_answers(before + 2 * _NUM_TASKS)

  def await_answers(self, count):
    is_over = lambda: sum(self.seen.values()) >= count or self.wrong
    with self.news:
      if not self.news.wait_for(is_over, _SECONDS_AT_MOST):
        raise AssertionError('nobody answers')

  def run_with(self, service, ask):
    """Has another thread's loop ask, and this one change what answers."""
    failures = []

    def loop():
      try:
        asyncio.run(ask(service))
      except Exception as error:  # pylint: disable=broad-except
        failures.append(error)
        self.stop.set()

    thread = threading.Thread(target=loop)
    thread.start()
    with contextlib.ExitStack() as stack:
      stack.callback(thread.join)
      stack.callback(self.stop.set)
      self.change(service)
    self.assertEmpty(failures)
    self.assertEmpty(self.wrong)
    self.assertLen(self.seen, 3)

  def test_no_answer_is_mixed(self):
    self.run_with(self.serve(), self.ask_in_tasks)


if __name__ == '__main__':
  absltest.main()

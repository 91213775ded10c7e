import asyncio

from absl.testing import absltest

from limaml_jax.serving import batcher

_LARGEST = batcher.Size(entities=4, rows=100)
_PATIENCE = 10  # Seconds.
_SMALL = batcher.Size(entities=1, rows=10)


def submit_all(run, items, *, size=_SMALL):
  """Submits items at the same moment; returns results, or what was raised."""

  async def submit(made, item):
    try:
      return await asyncio.wait_for(made.submit(item, size), _PATIENCE)
    except (ValueError, OSError) as error:
      return f'raised: {error}'

  async def main():
    made = batcher.Batcher(run, _LARGEST)
    return await asyncio.gather(*(submit(made, item) for item in items))

  return asyncio.run(main())


def record_batches():
  """Returns what doubles the items of a batch, and the list of batches."""
  batches = []

  async def run(items):
    batches.append(list(items))
    return [2 * item for item in items]

  return run, batches


class BatcherTest(absltest.TestCase):

  def test_what_waits_together_is_run_together_and_told_apart(self):
    run, batches = record_batches()
    self.assertEqual(submit_all(run, [1, 2, 3]), [2, 4, 6])
    self.assertEqual(batches, [[1, 2, 3]])

  def test_batch_has_at_most_so_many_entities(self):
    run, batches = record_batches()
    submit_all(run, range(9))
    self.assertEqual(batches, [[0, 1, 2, 3], [4, 5, 6, 7], [8]])

  def test_batch_has_at_most_so_many_rows(self):
    run, batches = record_batches()
    submit_all(run, range(5), size=batcher.Size(entities=1, rows=50))
    self.assertEqual(batches, [[0, 1], [2, 3], [4]])

  def test_item_larger_than_a_batch_is_run_alone(self):
    run, batches = record_batches()
    found = submit_all(run, [1, 2], size=batcher.Size(entities=1, rows=101))
    self.assertEqual(batches, [[1], [2]])
    self.assertEqual(found, [2, 4])

  def test_exception_among_the_results_is_its_own_items(self):
    error = ValueError('bad')

    async def run(items):
      return [error if item == 2 else item for item in items]

    self.assertEqual(submit_all(run, [1, 2, 3]), [1, 'raised: bad', 3])

  def test_batch_that_fails_fails_all_of_its_items(self):
    async def run(items):
      raise OSError('down')

    self.assertEqual(submit_all(run, [1, 2]), ['raised: down'] * 2)

  def test_what_comes_while_a_batch_runs_is_the_next_batch(self):
    batches = []

    async def main():
      began, go_on = asyncio.Event(), asyncio.Event()

      async def run(items):
        batches.append(list(items))
        began.set()
        await go_on.wait()
        return items

      made = batcher.Batcher(run, _LARGEST)
      first = asyncio.create_task(made.submit(1, _SMALL))
      await began.wait()
      others = [asyncio.create_task(made.submit(n, _SMALL)) for n in (2, 3)]
      while len(batches) < 2:
        await asyncio.sleep(0)
      go_on.set()
      return await asyncio.gather(first, *others)

    self.assertEqual(asyncio.run(main()), [1, 2, 3])
    self.assertEqual(batches, [[1], [2, 3]])

  def test_who_went_away_disturbs_nobody(self):
    run, batches = record_batches()

    async def main():
      made = batcher.Batcher(run, _LARGEST)
      gone = asyncio.create_task(made.submit(1, _SMALL))
      stays = asyncio.create_task(made.submit(2, _SMALL))
      await asyncio.sleep(0)  # Both wait now.
      gone.cancel()
      return await asyncio.wait_for(stays, _PATIENCE)

    self.assertEqual(asyncio.run(main()), 4)
    self.assertEqual(batches, [[1, 2]])


if __name__ == '__main__':
  absltest.main()

import dataclasses
import json
import os
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.refresh import job
from limaml_jax.refresh import quality
from limaml_jax.store import contents
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from tests.refresh import small_refresh

RESULT = job.Result


class JobTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.days = small_refresh.cutoffs()
    self.line = self.make_line()
    self.store = self.line.refresher.store
    self.dir = pathlib.Path(self.create_tempdir().full_path)

  def make_line(self, **kwargs):
    return small_refresh.make_line(self.create_tempdir().full_path, **kwargs)

  def refresh(self, cutoff, line=None, **settings):
    return small_refresh.refresh(
        line or self.line, cutoff, self.dir, **settings
    )

  def contents(self, outcome, line=None):
    store = (line or self.line).refresher.store
    return contents.load(store, 'user', outcome.manifest.version)

  def full(self, cutoff, **kwargs):
    """Returns the contents of a full refresh in a store of its own."""
    line = self.make_line(**kwargs)
    directory = self.create_tempdir().full_path
    return self.contents(small_refresh.refresh(line, cutoff, directory), line)

  def assert_same(self, one, other):
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.watermarks, other.watermarks)
    self.assertEqual(one.manifest.checksum, other.manifest.checksum)


def without_last(data):
  """Returns tasks without the last entity."""
  table, info, start = data
  stop = table.offsets[-2]
  take = lambda columns, size: {n: x[:size] for n, x in columns.items()}
  return table._replace(
      entity_keys=table.entity_keys[:-1],
      offsets=table.offsets[:-1],
      num_history=table.num_history[:-1],
      num_train=table.num_train[:-1],
      timestamps=table.timestamps[:stop],
      labels=table.labels[:stop],
      targets=table.targets[:stop],
      weights=table.weights[:stop],
      entity_features=take(table.entity_features, -1),
      event_features=take(table.event_features, stop),
  ), info, start


class RefreshTest(JobTest):

  def test_first_one_adapts_everybody(self):
    outcome = self.refresh(self.days[3])
    self.assertEqual(outcome.result, RESULT.PUBLISHED)
    self.assertEqual(outcome.num_adapted, small_refresh.NUM_ENTITIES)
    self.assertEqual(outcome.why_full, 'nothing is published yet')
    line = self.make_line()
    manifest = line.refresher.publish(self.days[3])
    self.assertEqual(outcome.manifest.checksum, manifest.checksum)

  def test_next_one_adapts_those_with_new_events_to_the_same_vectors(self):
    self.refresh(self.days[3])
    outcome = self.refresh(self.days[4])
    table = self.line.table
    new = (table.timestamps >= self.days[3]) & (
        table.timestamps < self.days[4]
    )
    entity = np.repeat(
        np.arange(small_refresh.NUM_ENTITIES), np.diff(table.offsets)
    )
    expected = np.unique(entity[new]).size
    self.assertEqual(outcome.num_adapted, expected)
    self.assertBetween(expected, 1, small_refresh.NUM_ENTITIES - 1)
    self.assertEqual(
        outcome.num_carried_over, small_refresh.NUM_ENTITIES - expected
    )
    self.assert_same(self.contents(outcome), self.full(self.days[4]))

  def test_full_adapts_everybody(self):
    self.refresh(self.days[3])
    outcome = self.refresh(self.days[4], full=True)
    self.assertEqual(outcome.num_adapted, small_refresh.NUM_ENTITIES)
    self.assert_same(self.contents(outcome), self.full(self.days[4]))

  def test_same_cutoff_again_does_nothing(self):
    first = self.refresh(self.days[3])
    with mock.patch.object(self.line.refresher, 'generate') as generate:
      again = self.refresh(self.days[3])
    generate.assert_not_called()
    self.assertEqual(again.result, RESULT.ALREADY_PUBLISHED)
    self.assertEqual(again.manifest, first.manifest)
    self.assertEqual(self.store.versions('user'), ['00000001'])

  def test_nobody_has_new_events(self):
    self.refresh(self.days[-1])
    outcome = self.refresh(self.days[-1] + 60)
    self.assertEqual(outcome.num_adapted, 0)
    self.assertEqual(outcome.manifest.cutoff, self.days[-1] + 60)
    self.assertEqual(self.store.current('user'), '00000002')

  def test_future_cutoff_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, '100 s ahead of the clock'):
      self.refresh(self.days[3], now=self.days[3] - 100)
    self.assertEqual(self.store.versions('user'), [])

  def test_going_back_takes_full(self):
    self.refresh(self.days[4])
    with self.assertRaisesRegex(errors.InputError, 'after --cutoff.*--full'):
      self.refresh(self.days[3])
    outcome = self.refresh(self.days[3], full=True)
    self.assert_same(self.contents(outcome), self.full(self.days[3]))

  def test_events_that_came_late(self):
    table, info, start = small_refresh.make_data()
    line = self.make_line()
    root = line.store
    self.refresh(self.days[3], line)
    # One event of the past, in the place of one that will come.
    later = np.flatnonzero(table.timestamps >= self.days[3])
    follows = np.isin(later, table.offsets[:-1], invert=True)
    first = later[
        follows & (table.timestamps[later - 1] < self.days[3])
    ][0]
    times = table.timestamps.copy()
    times[first] = times[first - 1]
    data = table._replace(timestamps=times), info, start
    line = small_refresh.make_line(root, data=data)
    outcome = self.refresh(self.days[4], line)
    self.assertRegex(outcome.why_full, 'from before the cutoff .* have changed')
    self.assert_same(
        self.contents(outcome, line), self.full(self.days[4], data=data)
    )

  def test_entities_that_came_and_went(self):
    data = small_refresh.make_data()
    fewer = without_last(data)
    self.refresh(self.days[3], small_refresh.make_line(
        self.line.store, data=fewer
    ))  # fmt: skip
    came = self.refresh(self.days[4])
    self.assertEqual(came.manifest.generator['mode'], 'incremental')
    self.assert_same(self.contents(came), self.full(self.days[4]))
    went = self.refresh(
        self.days[5], small_refresh.make_line(self.line.store, data=fewer)
    )
    self.assertIn('have changed', went.why_full)
    self.assertNotIn(data[0].entity_keys[-1], self.contents(went).keys)

  @parameterized.named_parameters(
      ('targets', lambda t: t._replace(targets=1 - t.targets)),
      ('weights', lambda t: t._replace(weights=t.weights + 1)),
      ('items', lambda t: t._replace(event_features=t.event_features | {
          'item_id': t.event_features['item_id'][::-1].copy()
      })),
      ('ages', lambda t: t._replace(entity_features=t.entity_features | {
          'age': t.entity_features['age'] + 1
      })),
  )  # fmt: skip
  def test_what_was_known_has_changed(self, change):
    table, info, start = small_refresh.make_data()
    self.refresh(self.days[3])
    data = change(table), info, start
    line = small_refresh.make_line(self.line.store, data=data)
    outcome = self.refresh(self.days[4], line)
    self.assertIn('have changed', outcome.why_full)
    self.assert_same(
        self.contents(outcome), self.full(self.days[4], data=data)
    )

  def test_later_events_change_nothing(self):
    table, info, start = small_refresh.make_data()
    self.refresh(self.days[3])
    later = table.timestamps >= self.days[3]
    targets = np.where(later, 1 - table.targets, table.targets)
    data = table._replace(targets=targets), info, start
    line = small_refresh.make_line(self.line.store, data=data)
    outcome = self.refresh(self.days[3], line)
    self.assertEqual(outcome.result, RESULT.ALREADY_PUBLISHED)

  def test_other_parameters_adapt_everybody(self):
    self.refresh(self.days[3])
    line = small_refresh.make_line(self.line.store, seed=1)
    outcome = self.refresh(self.days[4], line)
    self.assertEqual(
        outcome.why_full, 'snapshot 00000001 is of another model'
    )
    skipped = [c.name for c in outcome.verdict.checks if c.passed is None]
    self.assertEqual(skipped, ['norm', 'drift'])

  def test_another_meta_block_adapts_everybody(self):
    self.refresh(self.days[3])
    line = small_refresh.make_line(self.line.store, meta_seed=1)
    outcome = self.refresh(self.days[4], line)
    self.assertEqual(
        outcome.why_full, 'snapshot 00000001 was adapted otherwise'
    )
    self.assert_same(
        self.contents(outcome), self.full(self.days[4], meta_seed=1)
    )
    self.assertEqual(
        self.refresh(self.days[4], self.line).result, RESULT.PUBLISHED
    )

  def test_another_type_adapts_everybody(self):
    self.refresh(self.days[3])
    line = small_refresh.make_line(self.line.store, dtype='int8')
    outcome = self.refresh(self.days[4], line)
    self.assertEqual(outcome.why_full, 'snapshot 00000001 is in float32')
    self.assertEqual(outcome.manifest.dtype, 'int8')

  def test_manifest_says_how_it_was_made(self):
    self.refresh(self.days[3])
    manifest = self.refresh(self.days[4]).manifest
    generator = manifest.generator
    self.assertEqual(generator['mode'], 'incremental')
    self.assertEqual(generator['base'], '00000001')
    self.assertEqual(generator['adaptation'], self.line.refresher.adaptation)
    self.assertEqual(
        generator['past'],
        self.line.refresher.hash_past().digest(self.days[4]),
    )


class Killed(Exception):
  """Stands for a SIGKILL at a known moment."""


class ResumeTest(JobTest):

  def kill_at(self, stage, number, cutoff):
    """Runs the job until a step of a stage."""
    steps = []

    def on_progress(name, done, total):
      steps.append(name)
      if steps.count(stage) == number:
        raise Killed

    with self.assertRaises(Killed):
      self.refresh(cutoff, on_progress=on_progress)

  @parameterized.parameters(('adapt', 1), ('adapt', 4), ('write', 1))
  def test_goes_on_from_the_last_finished_chunk(self, stage, number):
    self.kill_at(stage, number, self.days[5])
    plan = self.line.refresher.plan(self.days[5])
    real = self.line.refresher.generate
    with mock.patch.object(
        self.line.refresher, 'generate', side_effect=real
    ) as generate:
      outcome = self.refresh(self.days[5])
    # The first call; those that follow are the gate's.
    done = generate.call_args_list[0].kwargs['done']
    expected = len(plan.parts) if stage == 'write' else number - 1
    self.assertLen(done, expected)
    self.assert_same(self.contents(outcome), self.full(self.days[5]))

  def test_a_snapshot_that_was_written_is_not_written_again(self):
    self.kill_at('gate', 1, self.days[5])
    self.assertEqual(self.store.versions('user'), ['00000001'])
    self.assertEqual(self.store.published('user'), [])
    outcome = self.refresh(self.days[5])
    self.assertEqual(outcome.result, RESULT.PUBLISHED)
    self.assertEqual(self.store.versions('user'), ['00000001'])

  def test_written_but_torn_is_written_again(self):
    self.kill_at('gate', 1, self.days[5])
    folder = pathlib.Path(self.line.store) / 'user' / 'snapshots' / '00000001'
    data = (folder / 'data.mdb').read_bytes()
    (folder / 'data.mdb').write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    outcome = self.refresh(self.days[5])
    self.assertEqual(outcome.manifest.version, '00000002')
    (folder / 'manifest.json').write_text('{')
    outcome = self.refresh(self.days[6])
    self.assertEqual(outcome.result, RESULT.PUBLISHED)

  def test_began_when_it_began(self):
    self.kill_at('adapt', 3, self.days[5])
    manifest = self.refresh(self.days[5], now=small_refresh.NOW + 50).manifest
    self.assertEqual(manifest.created, small_refresh.NOW)

  def test_chunks_of_another_job_are_not_taken(self):
    self.kill_at('adapt', 4, self.days[5])
    outcome = self.refresh(self.days[6])
    self.assert_same(self.contents(outcome), self.full(self.days[6]))

  @parameterized.parameters(b'', b'PK\x03\x04 torn')
  def test_torn_chunk_is_made_again(self, data):
    self.kill_at('adapt', 4, self.days[5])
    first = min((self.dir / 'staging').glob('*.npz'))
    first.write_bytes(data)
    outcome = self.refresh(self.days[5])
    self.assert_same(self.contents(outcome), self.full(self.days[5]))

  def test_disk_that_is_full(self):
    self.kill_at('adapt', 2, self.days[5])
    full = self.dir / 'staging' / f'00000003.0.{os.getpid()}'
    full.symlink_to('/dev/full')
    with self.assertRaisesRegex(
        errors.InputError, '00000003.npz: .*No space left on device.*run again'
    ):
      self.refresh(self.days[5])
    full.unlink()
    outcome = self.refresh(self.days[5])
    self.assert_same(self.contents(outcome), self.full(self.days[5]))

  def test_staging_is_gone_in_the_end(self):
    self.refresh(self.days[5])
    left = [path.name for path in (self.dir / 'staging').iterdir()]
    self.assertEqual(left, ['.lock'])

  def test_two_at_once_are_refused(self):
    def on_progress(stage, done, total):
      if stage == 'adapt' and done:
        with self.assertRaisesRegex(errors.InputError, 'another refresh'):
          self.refresh(self.days[5])
        raise Killed

    with self.assertRaises(Killed):
      self.refresh(self.days[5], on_progress=on_progress)


def dislikes(table, chunk):
  """Returns vectors whose first number is large for who likes nothing."""
  likes = np.add.reduceat(table.labels, table.offsets[:-1])
  share = likes / np.diff(table.offsets)
  return np.repeat(-share[chunk.entities, None], 4, axis=1)


class GateTest(JobTest):

  def poisoned(self, change):
    """Returns a line that makes other vectors: change(table, chunk)."""
    line = small_refresh.make_line(self.line.store)
    real = line.refresher.generate

    def generate(plan, done=()):
      for chunk in real(plan, done):
        vectors = change(line.table, chunk)
        yield chunk._replace(vectors=vectors.astype(np.float32))

    line.refresher.generate = generate
    return line

  def served(self):
    with lookup.Reader(self.store, 'user') as reader:
      return reader.lookup(['u0001']).version

  @parameterized.named_parameters(
      ('nan', lambda _, chunk: chunk.vectors * np.nan, {}, 'finite'),
      ('large', lambda _, chunk: chunk.vectors * 500, {}, 'norm'),
      ('moved', lambda _, c: c.vectors + 1, {'max_drift': 0.5}, 'drift of all'),
      ('wrong', dislikes, {'max_quality_loss': 0.01}, 'replay'),
  )
  def test_refuses(self, change, bounds, check):
    self.refresh(self.days[3])
    outcome = self.refresh(
        self.days[-1],
        self.poisoned(change),
        gate=dataclasses.replace(
            small_refresh.LENIENT, window_hours=48.0, **bounds
        ),
        score=lambda vectors, features: vectors[:, 0],
        full=True,
    )
    self.assertEqual(outcome.result, RESULT.REFUSED)
    self.assertIn(check, [c.name for c in outcome.verdict.failures])
    self.assertEqual(self.served(), '00000001')
    # Kept for inspection.
    self.assertEqual(self.store.versions('user'), ['00000001', '00000002'])
    verdict = json.loads((self.dir / job.VERDICT_FILE).read_text())
    self.assertFalse(verdict['passed'])
    self.assertEqual(verdict['version'], '00000002')
    failed = [c['name'] for c in verdict['checks'] if c['passed'] is False]
    self.assertEqual(failed, [c.name for c in outcome.verdict.failures])

  def test_what_was_refused_is_made_again(self):
    self.refresh(self.days[3])
    line = self.poisoned(lambda _, chunk: chunk.vectors * np.nan)
    outcome = self.refresh(self.days[4], line)
    self.assertEqual(outcome.result, RESULT.REFUSED)
    outcome = self.refresh(self.days[4])  # Mended.
    self.assertEqual(outcome.result, RESULT.PUBLISHED)
    self.assertEqual(self.served(), '00000003')

  def test_force_publishes_what_was_refused(self):
    self.refresh(self.days[3])
    line = self.poisoned(lambda _, chunk: chunk.vectors * 500)
    self.refresh(self.days[4], line)
    outcome = self.refresh(self.days[4], force=True)
    self.assertEqual(outcome.result, RESULT.FORCED)
    self.assertEqual(self.served(), '00000002')

  def test_rolled_back_meanwhile(self):
    self.refresh(self.days[2])
    self.refresh(self.days[3])

    def on_progress(stage, done, total):
      if stage == 'gate' and not done:
        snapshot.rollback(self.store, 'user')

    with self.assertRaisesRegex(errors.InputError, 'no longer names 00000002'):
      self.refresh(self.days[4], on_progress=on_progress)
    self.assertEqual(self.served(), '00000001')

  def test_incomplete(self):
    self.refresh(self.days[3])
    real = snapshot.write
    lose = lambda *args, **kwargs: real(
        *args, **kwargs | {'without': ['u0003', 'u0004']}
    )
    with mock.patch.object(snapshot, 'write', lose):
      outcome = self.refresh(self.days[4])
    self.assertEqual(
        [c.name for c in outcome.verdict.failures], ['completeness']
    )

  def test_window_is_the_later_half_of_what_is_new(self):
    self.refresh(self.days[3])
    middle = (self.days[3] + self.days[5]) // 2
    real = quality.window_rows
    with mock.patch.object(
        quality, 'window_rows', side_effect=real
    ) as window_rows:
      self.refresh(self.days[5])
    _, start, stop = window_rows.call_args.args
    self.assertEqual((start, stop), (middle, self.days[5]))

  def test_healthy_day_has_all_checks(self):
    self.refresh(self.days[3])
    outcome = self.refresh(self.days[4])
    names = [check.name for check in outcome.verdict.checks]
    self.assertContainsSubset(
        ['completeness', 'finite', 'norm', 'quality', 'replay'], names
    )
    self.assertTrue(outcome.verdict.passed)


if __name__ == '__main__':
  absltest.main()

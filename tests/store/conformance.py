"""What every back end must do, as tests; each has a file that runs them.

The classes are given a store by `make_store`, and start empty.
"""

import hashlib
import struct
import threading
from unittest import mock

from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from tests.store import stamped

# Two entities of dimension 2, which have seen events until 7 and 9.
ARRAYS = {
    'keys': ['b', 'a'],
    'vectors': np.array([[3.0, 4.0], [1.0, -2.0]]),
    'watermarks': np.array([9, 7]),
}
SETTINGS = {
    'default_embedding': np.array([0.5, 0.25]),
    'fingerprint': 'model',
    'cutoff': 10,
    'created': 20,
}
# Record: watermark, then vector.
RECORD_A = struct.pack('<q2f', 7, 1.0, -2.0)
RECORD_B = struct.pack('<q2f', 9, 3.0, 4.0)
PRESENT, STALE, MISSING, VERSION_MISMATCH, _ = lookup.Status
DEFAULT = [0.5, 0.25]


class StoreTest(parameterized.TestCase):
  """Gives each test a store."""

  def setUp(self):
    super().setUp()
    self.store = self.make_store()

  def make_store(self):
    """Returns an empty back end."""
    raise NotImplementedError


class SnapshotConformance(StoreTest):
  """Writing, publishing, rolling back, pruning and verifying."""

  def write(self, **changes):
    arguments = {**ARRAYS, **SETTINGS, **changes}
    return snapshot.write_arrays(self.store, 'user', **arguments)

  def publish(self, version):
    return snapshot.publish(self.store, 'user', version)

  def test_manifest_describes_the_data(self):
    manifest = self.write()
    self.assertEqual(manifest.version, '00000001')
    self.assertEqual(manifest.count, 2)
    self.assertEqual(manifest.dimension, 2)
    self.assertEqual(manifest.watermark, 9)
    self.assertEqual(manifest.default_embedding, (0.5, 0.25))
    content = b'\1\0\1\0' + b'ab' + RECORD_A + RECORD_B
    self.assertEqual(manifest.checksum, hashlib.sha256(content).hexdigest())

  @parameterized.parameters(([0, 1, 2, 3, 4],), ([4, 2, 0, 3, 1],))
  def test_chunks_in_any_order_make_the_same_snapshot(self, order):
    keys = ['a', 'b', 'c', 'd', 'e']
    vectors = np.arange(10.0).reshape(5, 2)
    watermarks = np.arange(5)
    whole = self.write(keys=keys, vectors=vectors, watermarks=watermarks)
    chunks = (
        record.Chunk([keys[i]], vectors[[i]], watermarks[[i]]) for i in order
    )
    pieces = snapshot.write(self.store, 'user', chunks, **SETTINGS)
    self.assertEqual(pieces.checksum, whole.checksum)
    self.assertEqual(pieces.watermark, 4)

  def test_no_versions_of_an_unknown_entity_type(self):
    self.assertEqual(self.store.versions('item'), [])

  @parameterized.named_parameters(
      ('few_vectors', {'vectors': np.zeros((1, 2))}, r'vectors: .*\[2, 2\]'),
      ('narrow', {'vectors': np.zeros((2, 1))}, r'vectors: .*\[2, 2\]'),
      ('flat', {'vectors': np.zeros(4)}, r'vectors: .*\[2, 2\]'),
      ('text', {'vectors': np.full((2, 2), 'x')}, 'vectors: .*pass numbers'),
      ('few_watermarks', {'watermarks': np.zeros(1, int)}, r'marks: .*\[2\]'),
      ('floats', {'watermarks': np.zeros(2)}, 'watermarks: .*pass integers'),
      ('nan', {'vectors': np.array([[np.nan, 0], [0, 0]])}, "entity 'b'.*fin"),
      ('infinite', {'vectors': np.array([[0, 0], [0, np.inf]])}, "entity 'a'"),
      # The largest float16 is 65504.
      (
          'beyond_float16',
          {'vectors': np.array([[7e4, 0], [0, 0]]), 'dtype': 'float16'},
          "entity 'b'.*float16",
      ),
      ('duplicate', {'keys': ['a', 'a']}, "entity 'a': comes twice"),
      ('no_key', {'keys': ['a', '']}, "entity '': its key has 0 bytes"),
      # 256 letters of 2 bytes: one byte too many.
      ('long_key', {'keys': ['a', 'é' * 256]}, "entity 'éé.*has 512 bytes"),
      ('integer_key', {'keys': ['a', 1]}, 'entity 1: not a text'),
      ('surrogate', {'keys': ['a', '\ud800']}, 'not a text that UTF-8'),
      ('later', {'watermarks': np.array([9, 11])}, "entity 'a'.*11.*cutoff 10"),
      ('negative', {'watermarks': np.array([-2, 0])}, "entity 'b'.*-2"),
      ('default_nan', {'default_embedding': [np.nan, 0]}, 'default_embedding'),
      ('default_2d', {'default_embedding': [[0, 0]]}, 'default_embedding'),
      ('dtype', {'dtype': 'int4'}, "'dtype'.*'int4'.*bfloat16 or int8"),
      ('fingerprint', {'fingerprint': ''}, "'fingerprint'"),
      ('cutoff', {'cutoff': 1.5}, "'cutoff'"),
  )
  def test_wrong_argument_leaves_nothing_behind(self, changes, message):
    with self.assertRaisesRegex(errors.InputError, message):
      self.write(**changes)
    self.assertEqual(self.store.versions('user'), [])
    self.assert_nothing_left()

  def test_duplicate_across_chunks_is_named(self):
    chunks = [
        record.Chunk([key], np.zeros((1, 2)), np.zeros(1, np.int64))
        for key in ('b', 'c', 'b')
    ]
    with self.assertRaisesRegex(errors.InputError, "entity 'b': comes twice"):
      snapshot.write(self.store, 'user', chunks, **SETTINGS)

  def test_longest_key(self):
    manifest = self.write(keys=['a', 'é' * 255 + 'x'])  # 511 bytes.
    self.assertEqual(manifest.count, 2)

  def test_publish_of_an_absent_version(self):
    self.publish(self.write().version)
    for version in ('00000002', '', '../snapshots/00000001'):
      with self.assertRaisesRegex(errors.InputError, 'no version'):
        self.publish(version)
    self.assertEqual(self.store.current('user'), '00000001')

  @parameterized.parameters('manifest', 'delete', 'open_snapshot', 'publish',
                            'new_snapshot')  # fmt: skip
  def test_absent_version_is_refused_by(self, method):
    self.write()
    with self.assertRaisesRegex(errors.InputError, "no version '00000002'"):
      answer = getattr(self.store, method)('user', '00000002')
      with answer:  # Where it gives a context, which does nothing earlier.
        pass
    self.assertEqual(self.store.versions('user'), ['00000001'])
    self.store.delete('user', '00000001')
    self.assert_nothing_left()

  def test_rollback_skips_what_was_never_published(self):
    self.publish(self.write().version)
    self.write()
    self.publish(self.write().version)
    self.assertEqual(snapshot.rollback(self.store, 'user'), '00000001')
    self.assertEqual(self.store.current('user'), '00000001')

  def test_rollback_never_returns_to_what_was_rolled_back(self):
    self.publish(self.write().version)
    self.publish(self.write().version)
    snapshot.rollback(self.store, 'user')
    self.publish(self.write().version)
    self.assertEqual(snapshot.rollback(self.store, 'user'), '00000001')

  def test_rollback_goes_back_one_at_a_time(self):
    for _ in range(3):
      self.publish(self.write().version)
    self.assertEqual(snapshot.rollback(self.store, 'user'), '00000002')
    self.assertEqual(snapshot.rollback(self.store, 'user'), '00000001')

  def test_rollback_with_nothing_before(self):
    self.publish(self.write().version)
    with self.assertRaisesRegex(errors.InputError, 'before version 00000001'):
      snapshot.rollback(self.store, 'user')
    self.assertEqual(self.store.current('user'), '00000001')


  def test_verify_accepts_what_was_written(self):
    manifest = self.write()
    self.publish(manifest.version)
    with lookup.Reader(self.store, 'user'):  # Open in this process.
      self.assertEqual(
          snapshot.verify(self.store, 'user', manifest.version), manifest
      )

  def test_scan_gives_all_records_in_order(self):
    version = self.write().version
    with self.store.open_snapshot('user', version) as opened:
      self.assertEqual(
          list(opened.scan()), [([b'a', b'b'], [RECORD_A, RECORD_B])]
      )

  def test_base_is_carried_over(self):
    base = self.write(keys=['a', 'c'])
    chunk = record.Chunk(['b', 'c'], np.full((2, 2), 7.0), np.array([8, 10]))
    found = snapshot.write(
        self.store, 'user', [chunk], base=base.version, **SETTINGS
    )
    whole = self.write(
        keys=['a', 'b', 'c'],
        vectors=np.array([ARRAYS['vectors'][0], [7, 7], [7, 7]]),
        watermarks=np.array([9, 8, 10]),
    )
    self.assertEqual(found.checksum, whole.checksum)
    self.assertEqual((found.count, found.watermark), (3, 10))
    snapshot.verify(self.store, 'user', base.version)  # Not touched.

  def test_entities_of_the_base_that_are_gone(self):
    base = self.write()
    found = snapshot.write(
        self.store,
        'user',
        [],
        base=base.version,
        without=['b', 'x'],
        **SETTINGS,
    )
    with self.store.open_snapshot('user', found.version) as opened:
      self.assertEqual(list(opened.scan()), [([b'a'], [RECORD_A])])

  @parameterized.parameters(
      ('fingerprint', 'other'), ('dtype', 'float16'),
      ('default_embedding', np.zeros(3)),
  )  # fmt: skip
  def test_base_of_another_kind_is_refused(self, name, value):
    base = self.write()
    with self.assertRaisesRegex(errors.InputError, 'write all entities anew'):
      snapshot.write(
          self.store, 'user', [], base=base.version, **SETTINGS | {name: value}
      )

  def test_entity_twice_over_a_base(self):
    base = self.write()
    chunk = record.Chunk(['a'], np.zeros((1, 2)), np.zeros(1, np.int64))
    with self.assertRaisesRegex(errors.InputError, 'comes twice'):
      snapshot.write(
          self.store, 'user', [chunk, chunk], base=base.version, **SETTINGS
      )

  def test_not_finite_may_be_written_for_inspection(self):
    vectors = np.array([[np.nan, 0], [1, np.inf]])
    manifest = self.write(vectors=vectors, finite=False)
    self.assertEqual(manifest.count, 2)

  def test_generator_is_kept(self):
    generator = {'cutoff': 7, 'full': True, 'config': {'steps': 3}}
    version = self.write(generator=generator).version
    self.assertEqual(
        self.store.manifest('user', version).generator, generator
    )

  def test_prune_keeps_the_newest_and_the_published(self):
    for _ in range(5):
      self.write()
    self.publish('00000002')
    self.assertEqual(
        snapshot.prune(self.store, 'user', keep=2),
        ['00000001', '00000003'],
    )
    left = ['00000002', '00000004', '00000005']
    self.assertEqual(self.store.versions('user'), left)
    self.publish('00000005')
    self.publish('00000004')
    self.assertEqual(snapshot.prune(self.store, 'user', keep=2), ['00000002'])
    self.assertEqual(self.store.versions('user'), left[1:])

  def test_prune_before_anything_is_published(self):
    for _ in range(3):
      self.write()
    snapshot.prune(self.store, 'user', keep=1)
    self.assertEqual(self.store.versions('user'), ['00000003'])

  def test_numbers_of_versions_never_come_twice(self):
    self.publish(self.write().version)
    self.store.delete('user', self.write().version)
    self.assertEqual(self.write().version, '00000003')

  @parameterized.parameters('00000001', '')
  def test_publishes_only_over_what_is_expected(self, expected):
    for _ in range(2):
      self.publish(self.write().version)
    third = self.write().version
    with self.assertRaisesRegex(errors.InputError, 'no longer names'):
      self.store.publish('user', third, expected=expected)
    self.assertEqual(self.store.current('user'), '00000002')
    self.store.publish('user', third, expected='00000002')
    self.assertEqual(self.store.current('user'), third)

  def test_first_one_is_published_over_nothing(self):
    self.store.publish('user', self.write().version, expected='')
    self.assertEqual(self.store.current('user'), '00000001')

  def test_published_snapshot_cannot_be_deleted(self):
    self.publish(self.write().version)
    with self.assertRaisesRegex(errors.InputError, 'is the published'):
      self.store.delete('user', '00000001')
    with self.assertRaisesRegex(errors.InputError, 'set 1 or more'):
      snapshot.prune(self.store, 'user', keep=0)

  def test_rollback_of_what_another_left_is_refused(self):
    self.publish(self.write().version)
    self.publish(self.write().version)
    with self.assertRaisesRegex(errors.InputError, 'no longer'):
      self.store.publish('user', '00000001', leave='00000001')
    self.assertEqual(self.store.current('user'), '00000002')
    self.assertEqual(self.store.published('user'), ['00000001', '00000002'])

  def test_entity_types_are_apart(self):
    self.publish(self.write().version)
    manifest = snapshot.write_arrays(
        self.store, 'item', **ARRAYS, **SETTINGS
    )
    self.assertEqual(manifest.version, '00000001')
    self.assertEqual(self.store.versions('user'), ['00000001'])
    with self.assertRaisesRegex(errors.InputError, 'no snapshot is published'):
      self.store.current('item')

  def assert_nothing_left(self):
    """Asserts that the back end holds nothing at all."""


class LookupConformance(StoreTest):
  """Reading what is published."""

  def publish(self, *, keys=('old', 'new'), vectors=None, **changes):
    """Publishes vectors [1, 2] and [3, 4] that have seen 100 and 190."""
    if vectors is None:
      vectors = np.array([[1.0, 2.0], [3.0, 4.0]])
    settings = {
        'watermarks': np.array([100, 190][: len(keys)]),
        'default_embedding': np.array(DEFAULT),
        'fingerprint': 'model',
        'cutoff': 200,
        'created': 300,
        **changes,
    }
    manifest = snapshot.write_arrays(
        self.store, 'user', keys=keys, vectors=vectors, **settings
    )
    snapshot.publish(self.store, 'user', manifest.version)
    return manifest

  def reader(self, **settings):
    reader = lookup.Reader(self.store, 'user', **settings)
    self.addCleanup(reader.close)
    return reader

  def assert_answer(self, answer, *, vectors, statuses, ages):
    self.assertEqual(answer.vectors.dtype, np.float32)
    self.assertEqual(answer.statuses.dtype, np.uint8)
    self.assertEqual(answer.ages.dtype, np.int64)
    np.testing.assert_array_equal(answer.vectors, np.array(vectors))
    np.testing.assert_array_equal(answer.statuses, statuses)
    np.testing.assert_array_equal(answer.ages, ages)

  def test_present_stale_and_missing(self):
    self.publish()
    answer = self.reader(fingerprint='model', max_age_seconds=110).lookup(
        ['new', 'nobody', 'old', 'new'], now=300
    )
    self.assert_answer(
        answer,
        vectors=[[3, 4], DEFAULT, [1, 2], [3, 4]],
        # 300 - 190 is just young enough, 300 - 100 is not.
        statuses=[PRESENT, MISSING, STALE, PRESENT],
        ages=[110, -1, 200, 110],
    )
    self.assertEqual(answer.version, '00000001')

  def test_other_model(self):
    self.publish()
    answer = self.reader(fingerprint='other').lookup(['new', 'nobody'], now=300)
    self.assert_answer(
        answer,
        vectors=[DEFAULT, DEFAULT],
        statuses=[VERSION_MISMATCH, VERSION_MISMATCH],
        ages=[-1, -1],
    )
    self.assertEqual(answer.version, '00000001')

  def test_without_limit_nothing_is_stale(self):
    self.publish()
    answer = self.reader().lookup(['old'], now=10**9)
    np.testing.assert_array_equal(answer.statuses, [PRESENT])
    np.testing.assert_array_equal(answer.ages, [10**9 - 100])

  def test_entity_without_events_ages_from_the_cutoff(self):
    self.publish(watermarks=np.array([-1, 190]))
    answer = self.reader(max_age_seconds=100).lookup(['old'], now=301)
    self.assert_answer(answer, vectors=[[1, 2]], statuses=[STALE], ages=[101])

  def test_clock_behind_the_log(self):
    self.publish()
    answer = self.reader().lookup(['new'], now=180)
    np.testing.assert_array_equal(answer.ages, [0])

  def test_asks_the_clock(self):
    self.publish()
    with mock.patch.object(lookup.time, 'time', return_value=195.9):
      answer = self.reader().lookup(['new'])
    np.testing.assert_array_equal(answer.ages, [5])

  def test_float32_keeps_its_bits(self):
    # Negative zero, the smallest denormal, the largest number, 0.1.
    bits = np.array([0x80000000, 1, 0x7F7FFFFF, 0x3DCCCCCD], np.uint32)
    vectors = bits.view(np.float32).reshape(2, 2)
    self.publish(vectors=vectors)
    answer = self.reader().lookup(['old', 'new'])
    np.testing.assert_array_equal(answer.vectors.view(np.uint32).ravel(), bits)

  @parameterized.parameters('bfloat16', 'float16', 'int8')
  def test_smaller_types_stay_close(self, dtype):
    vectors = np.array([[1.0, -2.0], [0.001, 0.003]])
    self.publish(vectors=vectors, dtype=dtype)
    answer = self.reader().lookup(['old', 'new', 'nobody'])
    self.assertEqual(answer.vectors.dtype, np.float32)
    np.testing.assert_allclose(answer.vectors[:2], vectors, rtol=0.012)
    np.testing.assert_array_equal(answer.vectors[2], DEFAULT)

  def test_float16_rounds(self):
    # Between 2048 and 4096 its steps are 2; halfway goes to the even one.
    self.publish(
        vectors=np.array([[2049.0, 2051.0], [1.5, -0.0]]), dtype='float16'
    )
    answer = self.reader().lookup(['old', 'new', 'nobody'])
    np.testing.assert_array_equal(
        answer.vectors, [[2048, 2052], [1.5, 0], DEFAULT]
    )
    self.assertEqual(answer.vectors.dtype, np.float32)

  def test_answer_belongs_to_the_caller(self):
    self.publish()
    reader = self.reader()
    for keys in (['old'], ['nobody']):
      first = reader.lookup(keys).vectors.copy()
      reader.lookup(keys).vectors[:] = 7.0
      np.testing.assert_array_equal(reader.lookup(keys).vectors, first)

  def test_unicode_keys(self):
    # The same letter composed and decomposed are two keys.
    self.publish(keys=['\u00e9\U0001f600', 'e\u0301\U0001f600'])
    answer = self.reader().lookup(['e\u0301\U0001f600', '\u00e9\U0001f600'])
    np.testing.assert_array_equal(answer.vectors, [[3, 4], [1, 2]])

  @parameterized.parameters('', 'x' * 512, '\ud800')
  def test_impossible_key_is_missing(self, key):
    self.publish(keys=('?', 'new'))  # What a surrogate may turn into.
    answer = self.reader().lookup(['new', key], now=200)
    self.assert_answer(
        answer,
        vectors=[[3, 4], DEFAULT],
        statuses=[PRESENT, MISSING],
        ages=[10, -1],
    )

  @parameterized.parameters('model', 'other')
  def test_no_keys(self, fingerprint):
    self.publish()
    answer = self.reader(fingerprint=fingerprint).lookup([])
    self.assertEqual(answer.vectors.shape, (0, 2))
    self.assertEqual(answer.statuses.shape, (0,))
    self.assertEqual(answer.ages.shape, (0,))

  def test_snapshot_without_entities(self):
    manifest = self.publish(keys=[], vectors=np.zeros((0, 2)))
    self.assertEqual((manifest.count, manifest.watermark), (0, -1))
    answer = self.reader().lookup(['a', 'b'])
    self.assert_answer(
        answer,
        vectors=[DEFAULT, DEFAULT],
        statuses=[MISSING, MISSING],
        ages=[-1, -1],
    )

  def test_next_lookup_sees_publish_and_rollback(self):
    self.publish()
    reader = self.reader()
    self.publish(vectors=np.full((2, 2), 9.0))
    self.assertEqual(reader.lookup(['old']).vectors[0, 0], 9.0)
    snapshot.rollback(self.store, 'user')
    self.assertEqual(reader.lookup(['old']).vectors[0, 0], 1.0)

  def test_unpublished_version_stays_unseen(self):
    stamped.write(self.store)
    snapshot.publish(self.store, 'user', '00000001')
    reader = self.reader()
    stamped.write(self.store)
    self.assertEqual(reader.lookup(['x']).version, '00000001')

  def test_two_readers_share_a_snapshot(self):
    self.publish()
    first, second = self.reader(), self.reader(fingerprint='other')
    first.lookup(['old'])
    self.assertEqual(second.lookup(['old']).statuses[0], VERSION_MISMATCH)
    second.close()
    self.assertEqual(first.lookup(['old']).statuses[0], PRESENT)

  def test_closed_reader_refuses(self):
    self.publish()
    reader = self.reader()
    reader.close()
    reader.close()
    with self.assertRaisesRegex(ValueError, 'closed'):
      reader.lookup(['old'])

  def test_threads_share_a_reader(self):
    for _ in range(2):
      stamped.write(self.store)
    versions = self.store.versions('user')
    snapshot.publish(self.store, 'user', versions[0])
    reader = self.reader()
    done = threading.Event()
    wrong = []

    def look_up():
      while not done.is_set():
        answer = reader.lookup(stamped.KEYS)
        if (answer.vectors != int(answer.version)).any():
          wrong.append(answer)

    threads = [threading.Thread(target=look_up) for _ in range(3)]
    for thread in threads:
      thread.start()
    for i in range(40):
      snapshot.publish(self.store, 'user', versions[i % 2])
    done.set()
    for thread in threads:
      thread.join()
    self.assertEmpty(wrong)

import os
import pathlib
import threading
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import lmdb
import numpy as np

from limaml_jax import errors
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from tests.store import stamped

PRESENT, STALE, MISSING, VERSION_MISMATCH = lookup.Status
DEFAULT = [0.5, 0.25]


class LookupTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    self.path = pathlib.Path(self.root) / 'user'

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
    manifest = snapshot.write(
        self.root, 'user', keys=keys, vectors=vectors, **settings
    )
    snapshot.publish(self.root, 'user', manifest.version)
    return manifest

  def reader(self, **settings):
    reader = lookup.Reader(self.root, 'user', **settings)
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
    snapshot.rollback(self.root, 'user')
    self.assertEqual(reader.lookup(['old']).vectors[0, 0], 1.0)

  def test_unpublished_version_stays_unseen(self):
    stamped.write(self.root)
    snapshot.publish(self.root, 'user', '00000001')
    reader = self.reader()
    stamped.write(self.root)
    self.assertEqual(reader.lookup(['x']).version, '00000001')

  def test_every_publish_within_one_tick_of_the_clock_is_seen(self):
    for _ in range(2):
      stamped.write(self.root)
    versions = snapshot.versions(self.root, 'user')
    snapshot.publish(self.root, 'user', versions[0])
    os.utime(self.path / 'CURRENT', ns=(0, 0))
    reader = self.reader()
    for i in range(1, 9):
      # Two in a row, so that the first one's inode is free for the second.
      for version in (versions[0], versions[i % 2]):
        snapshot.publish(self.root, 'user', version)
        os.utime(self.path / 'CURRENT', ns=(0, 0))
      self.assertEqual(reader.lookup(['x']).version, versions[i % 2])

  def test_two_readers_share_a_snapshot(self):
    self.publish()
    first, second = self.reader(), self.reader(fingerprint='other')
    first.lookup(['old'])
    self.assertEqual(second.lookup(['old']).statuses[0], VERSION_MISMATCH)
    second.close()
    self.assertEqual(first.lookup(['old']).statuses[0], PRESENT)

  def test_last_reader_closes_the_snapshot(self):
    self.publish()
    for _ in range(2):
      with self.reader() as first, self.reader():
        first.lookup(['old'])
    path = self.path / 'snapshots' / '00000001'
    # LMDB would refuse if this process still had it open.
    lmdb.open(str(path), readonly=True, lock=False).close()

  def test_reader_lets_go_of_the_former_snapshot(self):
    self.publish()
    reader = self.reader()
    self.publish()
    reader.lookup(['old'])
    path = self.path / 'snapshots' / '00000001'
    lmdb.open(str(path), readonly=True, lock=False).close()

  def test_closed_reader_refuses(self):
    self.publish()
    reader = self.reader()
    reader.close()
    reader.close()
    with self.assertRaisesRegex(ValueError, 'closed'):
      reader.lookup(['old'])

  def test_threads_share_a_reader(self):
    for _ in range(2):
      stamped.write(self.root)
    versions = snapshot.versions(self.root, 'user')
    snapshot.publish(self.root, 'user', versions[0])
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
      snapshot.publish(self.root, 'user', versions[i % 2])
    done.set()
    for thread in threads:
      thread.join()
    self.assertEmpty(wrong)


class BrokenStoreTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = self.create_tempdir().full_path
    self.path = pathlib.Path(self.root) / 'user'

  def test_nothing_published(self):
    for _ in range(2):
      with self.assertRaisesRegex(
          errors.InputError, 'CURRENT: no snapshot.*experiments.refresh'
      ):
        lookup.Reader(self.root, 'user')
      stamped.write(self.root)

  @parameterized.parameters('', '0000000', 'ab', '../../etc', '\0' * 8)
  def test_torn_pointer(self, text):
    stamped.write(self.root)
    (self.path / 'CURRENT').write_text(text)
    with self.assertRaisesRegex(errors.InputError, 'CURRENT: holds'):
      lookup.Reader(self.root, 'user')

  @parameterized.named_parameters(
      ('empty', 'data.mdb', lambda data: b''),
      ('noise', 'data.mdb', lambda data: bytes(range(256)) * 64),
      ('only_meta_pages', 'data.mdb', lambda data: data[:8192]),
      ('half', 'data.mdb', lambda data: data[: len(data) // 2]),
      ('last_byte_gone', 'data.mdb', lambda data: data[:-1]),
      ('half_manifest', 'manifest.json', lambda data: data[:100]),
      ('binary_manifest', 'manifest.json', lambda data: b'\xff\xfe'),
      (
          'other_count',
          'manifest.json',
          lambda data: data.replace(b'"count": 500', b'"count": 499'),
      ),
  )
  def test_torn_file_at_opening(self, name, tear):
    self._publish_torn(name, tear)
    with self.assertRaisesRegex(
        errors.InputError, f'{self.path}/snapshots/00000001/.*roll back'
    ):
      lookup.Reader(self.root, 'user')

  @parameterized.parameters('data.mdb', 'manifest.json')
  def test_absent_file(self, name):
    self._publish_torn(name, lambda data: data)
    (self.path / 'snapshots' / '00000001' / name).unlink()
    with self.assertRaisesRegex(errors.InputError, f'00000001/{name}: '):
      lookup.Reader(self.root, 'user')

  def test_blank_page_at_lookup(self):
    # All pages behind the two of meta data.
    self._publish_torn(
        'data.mdb', lambda data: data[:8192] + bytes(len(data) - 8192)
    )
    with lookup.Reader(self.root, 'user') as reader:
      with self.assertRaisesRegex(errors.InputError, 'data.mdb: corrupt'):
        reader.lookup(stamped.KEYS)

  def test_wrong_dimension_at_lookup(self):
    self._publish_torn(
        'manifest.json', lambda data: data.replace(b'float32', b'float16')
    )
    with lookup.Reader(self.root, 'user') as reader:
      with self.assertRaisesRegex(errors.InputError, 'wrong size'):
        reader.lookup(stamped.KEYS)

  def test_reader_outlives_a_torn_publication(self):
    for _ in range(2):
      version = stamped.write(self.root).version
      snapshot.publish(self.root, 'user', version)
    snapshot.rollback(self.root, 'user')
    with lookup.Reader(self.root, 'user') as reader:
      (self.path / 'snapshots' / version / 'manifest.json').write_text('{')
      (self.path / 'CURRENT').write_text(version)
      for _ in range(2):
        with self.assertRaisesRegex(errors.InputError, 'not JSON'):
          reader.lookup(stamped.KEYS)
      snapshot.rollback(self.root, 'user')
      self.assertEqual(reader.lookup(stamped.KEYS).version, '00000001')

  def _publish_torn(self, name, tear):
    stamped.write(self.root)
    snapshot.publish(self.root, 'user', '00000001')
    path = self.path / 'snapshots' / '00000001' / name
    path.write_bytes(tear(path.read_bytes()))


if __name__ == '__main__':
  absltest.main()

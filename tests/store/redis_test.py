"""Redis as a back end, on servers that do as they should."""

import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from redis import crc

from limaml_jax import errors
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import record
from limaml_jax.store import snapshot
from limaml_jax.store.redis_store import catalog
from limaml_jax.store.redis_store import connection
from limaml_jax.store.redis_store import follower
from limaml_jax.store.redis_store import keys as keys_lib
from limaml_jax.store.redis_store import scripts
from tests.store import conformance
from tests.store import redis_server
from tests.store import stamped

RECORDS = 'limaml:{user}:records:00000001'


class RedisTest(conformance.StoreTest):
  """Gives each test an empty store on a server that the class shares."""

  options = {}

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.server = redis_server.Server(folder.name, **cls.options)
    cls.addClassCleanup(cls.server.kill)

  def make_store(self):
    self.admin = self.server.admin()
    self.addCleanup(self.admin.close)
    self.admin.flushall()
    return address.open_backend(self.server.url)

  def lose(self, what, entity):
    if what == 'all':
      self.admin.delete(RECORDS)
    else:
      self.admin.hdel(RECORDS, entity)

  def assert_nothing_left(self):
    # The last number stays, so that it is not given again.
    self.assertEmpty(set(self.admin.keys()) - {b'limaml:{user}:latest'})


class ClusterSnapshotTest(RedisTest, conformance.SnapshotConformance):
  options = {'cluster': True}


class ClusterLookupTest(RedisTest, conformance.LookupConformance):
  options = {'cluster': True}


class AnswersLostTest(RedisTest, conformance.SnapshotConformance):
  """Runs all that is asked twice, as if the first answer had got lost."""

  def setUp(self):
    super().setUp()
    call = connection.Connection.call

    def call_twice(self, ask):
      call(self, ask)
      return call(self, ask)

    patch = mock.patch.object(connection.Connection, 'call', call_twice)
    self.enter_context(patch)


class RedisSnapshotTest(RedisTest, conformance.SnapshotConformance):
  """What is Redis's own in writing."""

  def test_records_are_watermark_then_vector(self):
    self.write()
    self.assertEqual(
        self.admin.hgetall(RECORDS),
        {b'a': conformance.RECORD_A, b'b': conformance.RECORD_B},
    )

  def test_keys_of_an_entity_type_share_a_slot(self):
    with self.store.new_snapshot('user') as writer:
      writer.put([b'a'], np.zeros(1, record.layout(2, 'float32')))
      self.publish(self.write().version)
      names = self.admin.keys()
    kinds = {name.split(b':')[2] for name in names}
    self.assertEqual(
        kinds,
        {b'current', b'manifests', b'published', b'latest', b'records',
         b'unfinished', b'steps'},
    )  # fmt: skip
    self.assertLen({crc.key_slot(name) for name in names}, 1)

  def test_prefixes_are_apart(self):
    self.write()
    other = address.open_backend(self.server.url + '?prefix=other')
    self.assertEqual(other.versions('user'), [])
    snapshot.write_arrays(
        other, 'user', **conformance.ARRAYS, **conformance.SETTINGS
    )
    self.assertLen(self.admin.keys('other:{user}:*'), 3)

  @parameterized.parameters('', '.', '../user', 'a}b', '.hidden', 'é')
  def test_entity_type_that_could_break_the_braces(self, entity_type):
    with self.assertRaisesRegex(errors.InputError, '^entity type .*use'):
      self.store.versions(entity_type)

  def test_only_what_is_unfinished_expires(self):
    with self.store.new_snapshot('user') as writer:
      writer.put([b'a'], np.zeros(1, record.layout(2, 'float32')))
      (unfinished,) = self.admin.keys('*unfinished*')
      self.admin.expire(unfinished, 100)
      writer.put([b'b'], np.zeros(1, record.layout(2, 'float32')))
      self.assertBetween(self.admin.ttl(unfinished), 80_000, 86_400)
    self.assertEqual(self.admin.keys(), [])
    self.publish(self.write().version)
    for name in self.admin.keys():
      self.assertEqual(self.admin.ttl(name), -1)

  def test_two_writers_at_once(self):
    def chunks(value, meanwhile):
      yield record.Chunk(['a'], np.full((1, 2), value), np.array([1]))
      meanwhile()
      yield record.Chunk(['b'], np.full((1, 2), value), np.array([1]))

    def write(value, meanwhile=lambda: None):
      snapshot.write(
          self.store, 'user', chunks(value, meanwhile), **conformance.SETTINGS
      )

    write(2.0, lambda: write(1.0))
    for version, value in (('00000001', 1.0), ('00000002', 2.0)):
      self.publish(version)
      with lookup.Reader(self.store, 'user') as reader:
        vectors = reader.lookup(['a', 'b']).vectors
      np.testing.assert_array_equal(vectors, np.full((2, 2), value))

  def test_two_writers_finish_at_once(self):
    first, second = (self.enter_context(self.store.new_snapshot('user'))
                     for _ in range(2))  # fmt: skip
    versions = []
    describe = lambda written: stamped.describe(written, 'user')

    def describe_late(written):
      if not versions and written.version != '00000000':
        versions.append(second.finish(describe).version)
      return describe(written)

    self.assertEqual(first.finish(describe_late).version, '00000002')
    self.assertEqual(versions, ['00000001'])

  def test_numbers_are_not_given_again(self):
    self.write()
    self.write()
    self.store.delete('user', '00000002')
    self.assertEqual(self.write().version, '00000003')

  def test_numbers_ascend_though_the_last_is_forgotten(self):
    self.write()
    self.write()
    self.admin.delete('limaml:{user}:latest')
    self.assertEqual(self.write().version, '00000003')

  def test_many_pipelines(self):
    keys = [f'{i:05d}' for i in range(20_000)]
    vectors = np.arange(40_000.0).reshape(-1, 2)
    manifest = self.write(
        keys=keys, vectors=vectors, watermarks=np.zeros(20_000, int)
    )
    self.publish(manifest.version)
    copy = snapshot.write(
        self.store, 'user', [], base=manifest.version, without=keys[5:],
        **conformance.SETTINGS,
    )  # fmt: skip
    self.assertEqual(copy.count, 5)
    with lookup.Reader(self.store, 'user') as reader:
      np.testing.assert_array_equal(reader.lookup(keys).vectors, vectors)

  @parameterized.parameters('unfinished', 'steps')
  def test_unfinished_that_lost_something_is_refused(self, kind):
    with self.assertRaisesRegex(errors.InputError, 'run again'):
      with self.store.new_snapshot('user') as writer:
        writer.put([b'a', b'b'], np.zeros(2, record.layout(2, 'float32')))

        def describe(written):
          # After the records were read back, before the last step.
          if written.count:
            (key,) = self.admin.keys(f'*{kind}*')
            if kind == 'unfinished':
              self.admin.hdel(key, 'a')
            else:
              self.admin.delete(key)
          return stamped.describe(written, 'user')

        writer.finish(describe)
    self.assertEqual(self.admin.keys(), [])

  def test_scripts_are_sent_again_when_flushed(self):
    self.publish(self.write().version)
    self.admin.script_flush()
    self.publish(self.write().version)
    self.assertEqual(self.store.current('user'), '00000002')

  @parameterized.parameters('entity', 'all')
  def test_version_without_its_records_is_not_published(self, what):
    self.write()
    self.lose(what, 'a')
    with self.assertRaisesRegex(errors.InputError, 'of 2 records'):
      self.publish('00000001')
    with self.assertRaisesRegex(errors.InputError, 'has lost records'):
      self.store.publish('user', '00000001')
    with self.assertRaisesRegex(errors.InputError, 'no snapshot is published'):
      self.store.current('user')

  @parameterized.parameters('entity', 'all')
  def test_records_that_go_while_they_are_read(self, what):
    self.write()
    with self.store.open_snapshot('user', '00000001') as opened:
      self.lose(what, 'a')
      with self.assertRaisesRegex(errors.InputError, 'of 2 records'):
        list(opened.scan())
    with self.assertRaisesRegex(errors.InputError, 'of 2 records'):
      with self.store.open_snapshot('user', '00000001'):
        self.fail('It is not whole.')

  @parameterized.parameters((b'x' * 16, 'checksum'), (b'x', 'wrong size'))
  def test_changed_record_is_not_published(self, value, message):
    self.write()
    self.admin.hset(RECORDS, 'a', value)
    with self.assertRaisesRegex(errors.InputError, message):
      self.publish('00000001')

  def test_publish_of_what_was_deleted_meanwhile(self):
    self.write()
    keys = keys_lib.Keys('limaml', 'user')
    self.assertEqual(
        scripts.publish(
            self.admin, keys, version='00000007', count=0, leave=None
        ),
        scripts.ABSENT,
    )


class RedisLookupTest(RedisTest, conformance.LookupConformance):
  """What is Redis's own in reading."""

  def test_one_question_a_lookup(self):
    self.publish()
    reader = self.reader()
    reader.lookup(['old'])
    call = connection.Connection.call
    with mock.patch.object(
        connection.Connection, 'call', autospec=True, side_effect=call
    ) as calls:
      reader.lookup(['old', 'new'])
    self.assertEqual(calls.call_count, 1)

  @parameterized.parameters('entity', 'all')
  def test_evicted_is_not_missing(self, what):
    self.publish()
    reader = self.reader()
    self.lose(what, 'old')
    for keys in (['new'], []):
      with self.assertRaisesRegex(errors.InputError, 'of 2 records .evicted'):
        reader.lookup(keys)
    with self.assertRaisesRegex(errors.InputError, 'of 2 records .evicted'):
      self.reader().lookup(['new'])

  def test_emptied_and_loaded_again_under_a_reader(self):
    self.publish()
    reader = self.reader()
    self.admin.flushall()
    with self.assertRaisesRegex(errors.InputError, 'no snapshot is published'):
      reader.lookup(['old'])
    self.publish(default_embedding=np.array([8.0, 9.0]))
    answer = reader.lookup(['nobody'])
    self.assertEqual(answer.version, '00000001')
    np.testing.assert_array_equal(answer.vectors, [[8, 9]])

  def replace(self):
    """Publishes another version, and deletes the first."""
    if self.store.current('user') == '00000001':
      self.publish(vectors=np.full((2, 2), 9.0))
      self.store.delete('user', '00000001')

  def test_deleted_between_pointer_and_records(self):
    self.publish()
    reader = self.reader()
    ask = follower.RedisFollower._ask

    def ask_slowly(*arguments):
      stamp, _, _ = ask(*arguments)
      self.replace()
      return stamp, *ask(*arguments)[1:]

    with mock.patch.object(follower.RedisFollower, '_ask', ask_slowly):
      answer = reader.lookup(['old'])
    self.assertEqual(answer.version, '00000002')
    np.testing.assert_array_equal(answer.vectors, [[9, 9]])

  def test_deleted_between_pointer_and_manifest(self):
    self.publish()
    read = catalog.read_published

    def read_late(*arguments):
      self.replace()
      return read(*arguments)

    with mock.patch.object(catalog, 'read_published', read_late):
      self.assertEqual(self.reader().lookup(['old']).version, '00000002')

  def test_record_of_wrong_size(self):
    self.publish()
    reader = self.reader()
    self.admin.hset(RECORDS, 'old', b'short')
    with self.assertRaisesRegex(errors.InputError, 'corrupt .*wrong size'):
      reader.lookup(['old'])

  @parameterized.parameters(
      ('', 'not a version'), ('../1', 'not a version'), ('é', 'not a version'),
      ('00000009 a', 'no version'), ('00000001 a', 'not the manifest that'),
  )  # fmt: skip
  def test_torn_pointer(self, value, message):
    self.publish()
    self.admin.set('limaml:{user}:current', value)
    with self.assertRaisesRegex(errors.InputError, message):
      self.reader()

  @parameterized.parameters((b'{', 'not JSON'), (b'\xff', 'not JSON'))
  def test_torn_manifest(self, value, message):
    self.publish()
    reader = self.reader()
    self.admin.hset('limaml:{user}:manifests', '00000001', value)
    reader.lookup(['old'])  # It has read it.
    with self.assertRaisesRegex(errors.InputError, message):
      self.store.manifest('user', '00000001')
    with self.assertRaisesRegex(errors.InputError, message):
      self.reader()

  def test_manifest_of_another_place(self):
    self.publish()
    other = snapshot.write_arrays(
        self.store, 'item', **conformance.ARRAYS, **conformance.SETTINGS
    )
    text = self.admin.hget('limaml:{item}:manifests', other.version)
    self.admin.hset('limaml:{user}:manifests', '00000001', text)
    with self.assertRaisesRegex(errors.InputError, "'entity_type' is 'item'"):
      self.store.manifest('user', '00000001')


if __name__ == '__main__':
  absltest.main()

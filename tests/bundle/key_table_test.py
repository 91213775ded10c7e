import os
import pathlib
import shutil
import threading

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax import errors
from limaml_jax.bundle import key_table

_RECORD = np.dtype([('row', '<i4')])
_UNKNOWN = np.full((), -5, _RECORD)
_LONG = 'x' * 600  # Bytes; LMDB takes 511.
_KEYS = [
    'plain', 'ä' * 256, 'a b\tc\n', '', '\ud800', '\x00', '日本', _LONG,
    _LONG + 'y', 'plain ', '0', '00', 'x' * 511, 'x' * 512,
]  # fmt: skip


def make(path, keys=_KEYS):
  records = np.zeros(len(keys), _RECORD)
  records['row'] = np.arange(len(keys))
  key_table.write(path, keys, records)
  return path


class KeyTableTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)

  def open(self, path=None, count=14):  # Of all of them.
    path = path or make(self.dir / 'table')
    return key_table.open_table(path, count, _RECORD, _UNKNOWN)

  @parameterized.parameters(*range(len(_KEYS)))
  def test_each_key_finds_its_own_record(self, row):
    records, unknown = self.open().get([_KEYS[row]])
    self.assertEqual(records['row'].tolist(), [row])
    self.assertEqual(unknown, 0)

  @parameterized.parameters(
      'plai', 'PLAIN', 'x' * 599, 'x' * 601, '\udfff', 'ä' * 255, '000'
  )
  def test_an_unknown_key_finds_the_default(self, key):
    records, unknown = self.open().get([key])
    self.assertEqual(records['row'].tolist(), [-5])
    self.assertEqual(unknown, 1)

  def test_keys_keep_their_order_and_may_repeat(self):
    records, unknown = self.open().get(['0', 'no', 'plain', '0', 'no', 'no'])
    self.assertEqual(records['row'].tolist(), [10, -5, 0, 10, -5, -5])
    self.assertEqual(unknown, 3)

  def test_a_record_like_the_default_is_known(self):
    path = self.dir / 'one'
    key_table.write(path, ['a'], np.full(1, -5, _RECORD))
    records, unknown = self.open(path, 1).get(['a', 'b'])
    self.assertEqual(records['row'].tolist(), [-5, -5])
    self.assertEqual(unknown, 1)

  def test_no_keys_find_no_records(self):
    records, unknown = self.open().get([])
    self.assertEqual((len(records), unknown), (0, 0))

  def test_more_keys_than_a_slice_of_writing(self):
    keys = [f'{n * 7919 % 70001}' for n in range(70_000)]
    table = self.open(make(self.dir / 'large', keys), len(keys))
    rows = [0, 1, 65_535, 65_536, 69_999]
    found, unknown = table.get([keys[row] for row in rows])
    self.assertEqual(found['row'].tolist(), rows)
    self.assertEqual(unknown, 0)

  def test_opened_twice_is_the_same_table(self):
    path = make(self.dir / 'table')
    first, second = self.open(path), self.open(path)
    self.assertIs(first, second)
    del first
    self.assertEqual(second.get(['00'])[0]['row'].tolist(), [11])

  def test_a_folder_made_anew_is_another_table(self):
    path = make(self.dir / 'table')
    first = self.open(path)
    shutil.rmtree(path)
    second = self.open(make(path, ['00']), 1)
    self.assertEqual(second.get(['00'])[0]['row'].tolist(), [0])
    # What was deleted is still read by who has it open.
    self.assertEqual(first.get(['00'])[0]['row'].tolist(), [11])

  def test_threads_share_a_table(self):
    table = self.open()
    wrong = []

    def read():
      for _ in range(300):
        if table.get(_KEYS)[0]['row'].tolist() != list(range(len(_KEYS))):
          wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEmpty(wrong)

  @parameterized.parameters(
      (lambda file: file.unlink(), 'No such file'),
      (lambda file: os.truncate(file, 0), 'corrupt'),
      (lambda file: os.truncate(file, 8192), '8192 bytes of'),
      (lambda file: file.write_bytes(b'x' * 50_000), 'corrupt'),
  )
  def test_a_torn_file_is_one_line(self, tear, message):
    path = make(self.dir / 'table')
    tear(path / 'data.mdb')
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      self.open(path)
    self.assertStartsWith(str(caught.exception), str(path / 'data.mdb'))
    self.assertEndsWith(str(caught.exception), 'export again')

  def test_a_table_of_another_number_of_keys_is_refused(self):
    path = make(self.dir / 'table')
    with self.assertRaisesRegex(errors.InputError, '14 keys.* says 13'):
      self.open(path, 13)

  def test_a_key_that_comes_twice_is_named(self):
    with self.assertRaisesRegex(errors.InputError, "key 'a': comes twice"):
      make(self.dir / 'twice', ['a', 'b', 'a'])


if __name__ == '__main__':
  absltest.main()

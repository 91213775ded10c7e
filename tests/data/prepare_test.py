from unittest import mock

from absl.testing import absltest
import numpy as np
import small_log
import tensorflow_datasets as tfds

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data import prepare
from limaml_jax.data.tasks import items
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import task_blocks
from limaml_jax.data.tasks import task_builder
from limaml_jax.data.tasks import task_table


def cut_to(size):
  """Returns `OrderedEvents.parts`, of at most so many events a part."""
  parts_of = ordered_events.OrderedEvents.parts

  def parts(self, columns):
    for rows in parts_of(self, columns):
      for start in range(0, len(rows), size):
        yield rows.slice(start, size)

  return parts


class PrepareTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def names(self):
    return sorted(path.name for path in self.log.root.iterdir())

  def test_info_is_read_back(self):
    info = self.log.prepare()
    self.assertEqual(dataset.load_info(self.log.output), info)

  def test_what_was_asked_for_before_is_not_made_again(self):
    info = self.log.prepare()
    with mock.patch.object(task_builder, 'write') as write:
      self.assertEqual(self.log.prepare(), info)
    write.assert_not_called()

  def test_another_request_replaces(self):
    first = self.log.prepare()
    second = self.log.prepare(test_fraction=0.5)
    self.assertNotEqual(second.request, first.request)
    self.assertNotEqual(second.fingerprint, first.fingerprint)
    self.assertEqual(dataset.load_info(self.log.output), second)
    self.assertEqual(self.names(), ['output', 'raw', 'schema.toml'])

  def test_changed_files_and_settings_are_another_request(self):
    requests = {self.log.prepare().request}
    requests.add(self.log.prepare(min_count=2).request)
    requests.add(self.log.prepare(phase='validation').request)
    self.log.write('users.csv', small_log.USERS[:-1])
    requests.add(self.log.prepare().request)
    self.log.write_events(small_log.EVENTS[:1], 'log2.csv')
    self.log.edit_schema('duplicates = "error"', 'duplicates = "keep"')
    requests.add(self.log.prepare().request)
    self.assertLen(requests, 5)

  def test_failure_while_writing_leaves_the_earlier_dataset(self):
    info = self.log.prepare()
    with mock.patch.object(items, 'save_items', side_effect=OSError('full')):
      with self.assertRaises(OSError):
        self.log.prepare(test_fraction=0.5)
    self.assertEqual(dataset.load_info(self.log.output), info)
    self.assertEqual(self.names(), ['output', 'raw', 'schema.toml'])
    task_table.load(self.log.output)

  def test_run_killed_between_the_renames_is_mended(self):
    info = self.log.prepare()
    self.log.output.rename(self.log.root / '.output.previous')
    with mock.patch.object(task_builder, 'write') as write:
      self.assertEqual(self.log.prepare(), info)
    write.assert_not_called()
    self.assertEqual(self.names(), ['output', 'raw', 'schema.toml'])

  def test_directory_of_something_else_is_refused(self):
    self.log.output.mkdir()
    (self.log.output / 'thesis.tex').write_text('years')
    with self.assertRaisesRegex(errors.InputError, 'something else'):
      self.log.prepare()
    self.assertEqual((self.log.output / 'thesis.tex').read_text(), 'years')

  def test_tells_its_progress(self):
    told = []
    prepare.prepare(
        self.log.schema,
        self.log.raw,
        self.log.output,
        data=small_log.config_lib.DataConfig(),
        protocol=small_log.config_lib.ProtocolConfig(),
        on_progress=lambda *step: told.append(step),
    )
    self.assertEqual(
        list(dict.fromkeys(stage for stage, _, _ in told)),
        ['read', 'transform', 'write'],
    )
    self.assertEqual(told[-1], ('write', 3, 3))

  def test_missing_dataset_is_named(self):
    with self.assertRaisesRegex(errors.InputError, 'dataset.json: not found'):
      task_table.load(self.log.output)

  def test_torn_tasks_are_named(self):
    self.log.prepare()
    (path,) = (self.log.output / 'tasks').glob('*array_record*')
    path.write_bytes(path.read_bytes()[:100])
    with self.assertRaisesRegex(errors.InputError, 'tasks cannot be read'):
      task_table.load(self.log.output)


class TaskStorageTest(absltest.TestCase):

  def test_blocks_join_whatever_their_size(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.prepare()
    whole = task_table.load(log.output)
    # Of 10, 5 and 1 events; parts of the log end inside of entities.
    for events_per_block, events_per_part, num_blocks in (
        (1, 3, 3), (12, 1, 2), (16, 7, 1)
    ):
      output = log.root / f'output{events_per_block}'
      with (
          mock.patch.object(task_blocks, '_EVENTS_PER_BLOCK', events_per_block),
          mock.patch.object(
              ordered_events.OrderedEvents, 'parts', cut_to(events_per_part)
          ),
      ):
        log.prepare(output=output)
      source = tfds.builder_from_directory(
          str(output / 'tasks')
      ).as_data_source(split='tasks')
      self.assertLen(source, num_blocks)
      read = task_table.load(output)
      for name, expected in whole._asdict().items():
        actual = getattr(read, name)
        if not isinstance(expected, dict):
          expected, actual = {name: expected}, {name: actual}
        self.assertSameElements(expected, actual)
        for key, values in expected.items():
          np.testing.assert_array_equal(actual[key], values, err_msg=key)
          self.assertEqual(actual[key].dtype, values.dtype, key)

  def test_tasks_are_read_without_this_library(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.prepare()
    builder = tfds.builder_from_directory(str(log.output / 'tasks'))
    source = builder.as_data_source(split='tasks')
    (block,) = source
    self.assertEqual(block['entity_keys'].tobytes(), b'annbobcat')
    self.assertEqual(block['key_lengths'].tolist(), [3, 3, 3])
    self.assertEqual(block['num_events'].tolist(), [10, 5, 1])
    self.assertEqual(block['num_train'].tolist(), [8, 4, 0])
    self.assertEqual(block['labels'][10:15].tolist(), [1.0] * 5)
    self.assertIn("('genres', 2)", builder.info.description)


if __name__ == '__main__':
  absltest.main()

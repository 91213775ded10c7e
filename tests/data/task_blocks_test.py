"""From a sorted log with weights and changing attributes to the task table."""

import dataclasses
import pathlib
from unittest import mock

from absl.testing import absltest
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_datasets as tfds

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import event_index
from limaml_jax.data.tasks import feature_encoder
from limaml_jax.data.tasks import log_statistics
from limaml_jax.data.tasks import ordered_events
from limaml_jax.data.tasks import task_blocks
from limaml_jax.data.tasks import task_builder
from limaml_jax.data.tasks import task_layout
from limaml_jax.data.tasks import task_table
from tests import synthetic

_PLAN = schema_lib.Feature(
    name='plan', owner='entity', kind='categorical', role='both', source='log'
)
_WEIGHTS = [0.5, 2.0, 1.0, 4.0, 0.25, 8.0, 1.5]
# Three entities, of 4, 1 and 2 events.
_ROWS = {
    'entity': ['ann'] * 4 + ['bob'] + ['cat'] * 2,
    'time': [n * 1_000_000 for n in (1, 2, 3, 4, 1, 5, 6)],
    'item': ['m0', 'm1', 'm0', 'm1', 'm0', 'm1', 'm2'],
    'label': pa.array([0, 1, 1, 0, 1, 0, 1], pa.float32()),
    'feature.plan': ['free', 'free', 'paid', None, 'free', 'paid', 'paid'],
}


class TaskBlocksTest(absltest.TestCase):

  def prepare(self, **columns):
    root = pathlib.Path(self.create_tempdir().full_path)
    rows = pa.table(_ROWS | columns)
    pq.write_table(rows, root / 'ordered.parquet', row_group_size=2)
    # Parts of three rows, cut across entities.
    self.enter_context(
        mock.patch.object(ordered_events, 'ROWS_PER_PART', 3)
    )
    ordered = ordered_events.open_files([root / 'ordered.parquet'])
    index = event_index.read(
        ordered, config_lib.ProtocolConfig(test_fraction=0.25)
    )
    encoder = feature_encoder.FeatureEncoder(
        index,
        log_statistics.collect(index, [_PLAN]),
        known_items=None,
        min_count=1,
    )
    encoder.add_entity_id('user')
    encoder.add_item_id('movie')
    encoder.add_from_log(_PLAN)
    blocks = list(task_blocks.blocks(index, encoder))
    task_builder.write(iter(blocks), encoder.specs, root / dataset.TASKS_DIR)
    _, info = synthetic.make_tasks(num_entities=2)
    info = dataclasses.replace(info, features=tuple(encoder.specs))
    (root / dataset.DATASET_FILE).write_text(info.to_json())
    self.root = root
    self.specs = {spec.name: spec for spec in encoder.specs}
    return task_table.load(root)

  def test_weights_come_through(self):
    table = self.prepare(weight=_WEIGHTS)
    self.assertEqual(table.entity_keys.tolist(), ['ann', 'bob', 'cat'])
    self.assertEqual(table.weights.tolist(), _WEIGHTS)
    self.assertEqual(table.weights.dtype, np.float32)

  def test_weights_are_cut_with_the_blocks(self):
    with self.blocks_of(3):
      table = self.prepare(weight=_WEIGHTS)
    self.assertEqual(table.weights.tolist(), _WEIGHTS)

  def test_targets_come_through_cut_with_the_blocks(self):
    targets = [0.0, 1.0, 0.75, 0.25, 1.0, 0.5, 0.125]
    with self.blocks_of(3):
      table = self.prepare(target=targets)
    self.assertEqual(table.targets.tolist(), targets)
    self.assertEqual(table.targets.dtype, np.float32)
    self.assertEqual(table.labels.tolist(), _ROWS['label'].to_pylist())

  def test_targets_are_the_labels_where_the_log_has_none(self):
    table = self.prepare()
    self.assertEqual(table.targets.tolist(), table.labels.tolist())

  def test_blocks_come_back_in_order_from_many_shards(self):
    keys = ['änn'] * 4 + ['bob'] + ['雀'] * 2
    with (
        self.blocks_of(1),
        mock.patch.object(task_builder, '_BLOCKS_PER_SHARD', 2),
    ):
      table = self.prepare(entity=keys, weight=_WEIGHTS)
    # Three blocks of an entity each: two files.
    files = list((self.root / dataset.TASKS_DIR).glob('*array_record-*'))
    self.assertLen(files, 2)
    self.assertEqual(table.entity_keys.tolist(), ['änn', 'bob', '雀'])
    self.assertEqual(table.weights.tolist(), _WEIGHTS)

  def test_tasks_of_another_version_are_refused_with_a_remedy(self):
    described = task_builder._features

    def without_targets(specs):
      features = dict(described(specs))
      del features['targets']
      return tfds.features.FeaturesDict(features)

    example = task_builder._example

    def older(block, specs):
      kept = example(block, specs)
      del kept['targets']
      return kept

    with (
        mock.patch.object(task_builder, '_features', without_targets),
        mock.patch.object(task_builder, '_example', older),
        self.assertRaisesRegex(
            errors.InputError, 'tasks cannot be read.*experiments.prepare'
        ),
    ):
      self.prepare()

  def test_keys_that_do_not_fit_their_lengths_are_refused(self):
    joined, lengths = task_layout.join_texts(pa.array(['ann', 'bob']))
    with self.assertRaises(ValueError):
      task_layout.split_texts(joined[:-1], lengths)

  def blocks_of(self, num_events):
    return absltest.mock.patch.object(
        task_blocks, '_EVENTS_PER_BLOCK', num_events
    )

  def test_weights_are_1_where_the_log_has_none(self):
    self.assertEqual(self.prepare().weights.tolist(), [1.0] * 7)

  def test_attribute_that_changes_is_read_per_event(self):
    table = self.prepare()
    self.assertNotIn('plan', table.entity_features)
    self.assertTrue(self.specs['plan'].per_event)
    self.assertFalse(self.specs['user'].per_event)
    # Training rows: ann's first three, cat's first; free and paid twice each.
    self.assertEqual(
        table.event_features['plan'].tolist(), [1, 1, 2, 0, 1, 2, 2]
    )


class DatasetInfoTest(absltest.TestCase):

  def test_comes_back_from_json_as_it_was(self):
    _, info = synthetic.make_tasks(num_entities=2)
    spec = dataclasses.replace(
        info.features[0], boundaries=(0.1, 2.5), hash_buckets=7
    )
    info = dataclasses.replace(info, features=(spec, *info.features[1:]))
    self.assertEqual(dataset.DatasetInfo.from_json(info.to_json()), info)


if __name__ == '__main__':
  absltest.main()

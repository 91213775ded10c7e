"""Tables over many devices: each holds its rows, the result is one device's."""

import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from experiments.benchmark import scaling
from limaml_jax.training import row_exchange
from tests.training import sharded_run

_CASES = [
    (f'{name} {tasks}x{rows}', tasks, rows)
    for name, shapes in sharded_run.MESHES.items()
    for tasks, rows in shapes
]
_ENVIRONMENT = {
    'JAX_NUM_CPU_DEVICES': '8',
    'JAX_PLATFORMS': 'cpu',
    # It is the partitioning that is looked at, not the speed.
    'XLA_FLAGS': (
        os.environ.get('XLA_FLAGS', '') + ' --xla_backend_optimization_level=0'
    ),
}
_NUM_ROW_WISE = 2  # The table and its state.
_BYTES_OF_ROW = {'adam': 3 * 4 * 4, 'row_wise_adagrad': (4 + 1) * 4}


class ShardedTablesTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    result = subprocess.run(
        [sys.executable, '-m', 'tests.training.sharded_run'],
        cwd=pathlib.Path(__file__).parents[2],
        env=os.environ | _ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not result.returncode, result.stderr[-3000:]
    cls.found = json.loads(result.stdout)

  def test_devices_are_as_many_as_asked_for(self):
    self.assertEqual(self.found['num_devices'], 8)

  @parameterized.parameters(*_CASES)
  def test_no_device_holds_more_than_its_rows(self, case, tasks, rows):
    for when in ('before', 'after'):
      shards = self.found[case][when]
      self.assertLen(shards, _NUM_ROW_WISE)
      for name, sizes in shards.items():
        expected = [sharded_run.NUM_ROWS // rows] * (tasks * rows)
        self.assertEqual(sizes, expected, name)

  @parameterized.parameters(*_CASES)
  def test_no_device_gathers_the_table_on_the_way(self, case, tasks, rows):
    del tasks
    largest = self.found[case]['largest_axis']
    self.assertEqual(largest, sharded_run.NUM_ROWS // rows)

  @parameterized.parameters(*_CASES)
  def test_equals_one_device(self, case, tasks, rows):
    del tasks, rows
    for name, distance in self.found[case]['distances'].items():
      self.assertLess(distance, 2e-5, name)
    one_device = self.found[f'{case.split()[0]} 1x1']
    self.assertAlmostEqual(
        self.found[case]['meta_loss'], one_device['meta_loss'], places=5
    )

  @parameterized.parameters(*(c for c in _CASES if '_of_' not in c[0]))
  def test_devices_send_what_the_model_says(self, case, tasks, rows):
    seen = self.found[case]
    step = scaling.Step(
        tasks=8 // (tasks * rows),
        slots=10,
        rows=sharded_run.NUM_ROWS,
        dimension=4,
        dense_bytes=seen['dense_bytes'],
    )
    axes = row_exchange.Axes(tasks, rows)
    expected = scaling.predict(step, axes).total
    # Losses, and how many rows are left, are some numbers more.
    self.assertBetween(seen['sent_bytes'] - expected, 0, 120)

  @parameterized.parameters(*_CASES)
  def test_state_is_written_in_place(self, case, tasks, rows):
    del tasks
    seen = self.found[case]
    optimizer = case.split()[0].partition('_of_')[0]
    own = sharded_run.NUM_ROWS // rows * _BYTES_OF_ROW[optimizer]
    self.assertGreaterEqual(seen['alias_bytes'], own)
    self.assertTrue(seen['given_is_deleted'])

  @parameterized.parameters(*_BYTES_OF_ROW)
  def test_more_rows_need_no_more_room_on_the_way(self, name):
    seen, larger = self.found[f'{name} 2x4'], self.found[f'{name} larger']
    more = (sharded_run.TIMES_LARGER - 1) * sharded_run.NUM_ROWS // 4
    # Not even one byte for each row.
    self.assertLess(larger['temp_bytes'] - seen['temp_bytes'], more / 2)
    grown = larger['argument_bytes'] - seen['argument_bytes']
    self.assertEqual(grown, more * _BYTES_OF_ROW[name])


if __name__ == '__main__':
  absltest.main()

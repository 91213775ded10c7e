"""One run on one device, on eight, and on two processes: the same run."""

import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np

from tests.training import cluster_run
from tests.training import clusters
from tests.training import small_run

_LOSSES = ('meta_loss', 'query_loss', 'gradient_norm', 'table_gradient_norm')


class ClusterTestCase(parameterized.TestCase):

  settings = {}

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    cls.whole = cls.dir / 'whole'
    cls.state = jax.device_get(cluster_run.train(cls.whole, cls.settings))
    cls.num_steps = int(cls.state.step)

  def assert_same_run(self, workdir, tolerance=1e-5):
    state = clusters.restore(workdir)
    chex.assert_trees_all_close(state, self.state, rtol=0, atol=tolerance)
    found = small_run.read_losses(workdir)
    expected = small_run.read_losses(self.whole)
    self.assertLen(found, self.num_steps)
    for one, other in zip(found, expected, strict=True):
      self.assertEqual(one['step'], other['step'])
      for name in _LOSSES:
        self.assertAlmostEqual(one[name], other[name], delta=tolerance)


class DevicesTest(ClusterTestCase):
  """Eight devices of one process."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdirs = {rows: cls.dir / f'rows_{rows}' for rows in (1, 2)}
    clusters.finish([
        clusters.start(8, workdir=w, settings={'training__mesh_rows': rows})
        for rows, w in cls.workdirs.items()
    ])

  @parameterized.parameters(1, 2)
  def test_equals_one_device(self, mesh_rows):
    self.assertGreaterEqual(self.num_steps, 6)
    self.assert_same_run(self.workdirs[mesh_rows])


class EnsembleTest(ClusterTestCase):
  """Members of a row lie together, wherever the row does."""

  settings = {'model__ensemble_size': 2}

  def test_equals_one_device(self):
    workdir = self.dir / 'ensemble'
    settings = self.settings | {'training__mesh_rows': 2}
    clusters.finish([clusters.start(4, workdir=workdir, settings=settings)])
    self.assert_same_run(workdir)


class ProcessesTest(ClusterTestCase):
  """Two processes, told to stop by a signal to one; others go on."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.stopped = cls.dir / 'stopped'
    cls.steps = clusters.finish(
        clusters.start_cluster(
            2,
            2,
            workdir=cls.stopped,
            settings={'training__mesh_rows': 4},
            term=(1, 3),
            step_seconds=0.2,
        )
    )

  def resume(self, name, num_processes, num_devices, mesh_rows):
    workdir = self.dir / name
    shutil.copytree(self.stopped, workdir)
    settings = {'training__mesh_rows': mesh_rows}
    arguments = {'workdir': workdir, 'settings': settings}
    if num_processes == 1:
      processes = [clusters.start(num_devices, **arguments)]
    else:
      processes = clusters.start_cluster(
          num_processes, num_devices, **arguments
      )
    last_steps = clusters.finish(processes)
    self.assertEqual(last_steps, [self.num_steps] * num_processes)
    return workdir

  def test_signal_to_one_stops_all_at_one_step_with_a_checkpoint(self):
    self.assertEqual(self.steps[0], self.steps[1])
    self.assertBetween(self.steps[0], 3, self.num_steps - 1)
    self.assertEqual(int(clusters.restore(self.stopped).step), self.steps[0])

  def test_every_process_reads_tasks_of_its_own(self):
    files = [self.stopped / f'seen_{index}.jsonl' for index in range(2)]
    steps, _ = cluster_run.reader_of({})
    notes = [map(json.loads, file.open()) for file in files]
    for (step, *first), (_, *second) in zip(*notes, strict=True):
      self.assertLen(first[0], 4)
      whole = steps[step - 1]
      np.testing.assert_array_equal(first[0] + second[0], whole.identity)
      self.assertEqual(
          first[1] + second[1], cluster_run.contents(whole.episodes)
      )

  @parameterized.named_parameters(
      ('one_process_of_one_device', 1, 1, 1),
      ('one_process_of_four_devices', 1, 4, 4),
      ('two_processes', 2, 2, 2),
  )
  def test_goes_on_elsewhere(self, *shape):
    workdir = self.resume('_'.join(map(str, shape)), *shape)
    self.assert_same_run(workdir)
    self.assert_every_episode_once_in_an_epoch(workdir)

  def assert_every_episode_once_in_an_epoch(self, workdir):
    _, plan = cluster_run.reader_of({})
    given = clusters.episodes_of(*workdir.glob('seen_*.jsonl'))
    self.assertEqual(sorted(given), list(range(1, self.num_steps + 1)))
    for epoch in range(2):
      begin = epoch * plan.steps_per_epoch
      seen = sum(
          (given[begin + n + 1] for n in range(plan.steps_per_epoch)), []
      )
      seen = sorted(number for number in seen if number >= 0)
      self.assertEqual(seen, list(range(len(plan.index.entity))))


if __name__ == '__main__':
  absltest.main()

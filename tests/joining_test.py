from absl.testing import absltest
from absl.testing import parameterized

from limaml_jax import cluster
from limaml_jax import errors

_GIVEN = {
    'JAX_COORDINATOR_ADDRESS': 'first:1234',
    'JAX_NUM_PROCESSES': '4',
    'JAX_PROCESS_ID': '3',
}
_SLURM = {
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': 'n[1-2]',
    'SLURM_NTASKS': '2',
    'SLURM_PROCID': '1',
}


class FindTest(parameterized.TestCase):

  def test_nothing_is_one_process(self):
    self.assertIsNone(cluster.find({}))

  def test_variables(self):
    self.assertEqual(
        cluster.find(_GIVEN),
        {
            'coordinator_address': 'first:1234',
            'num_processes': 4,
            'process_id': 3,
        },
    )

  def test_step_of_several_tasks_is_left_to_jax(self):
    self.assertEqual(cluster.find(_SLURM | {'SLURM_STEP_NUM_TASKS': '2'}), {})

  @parameterized.parameters({}, {'SLURM_STEP_NUM_TASKS': '1'})
  def test_job_without_such_a_step_is_one_process(self, **step):
    # As in the batch script, and in an allocation that is typed in.
    self.assertIsNone(cluster.find(_SLURM | step))

  def test_slices_of_one_host_each(self):
    found = cluster.find(
        {'TPU_WORKER_HOSTNAMES': 'a', 'MEGASCALE_NUM_SLICES': '2'}
    )
    self.assertEqual(found, {})

  @parameterized.parameters(('a', None), ('a,b', {}))
  def test_hosts_of_a_pod(self, hosts, expected):
    found = cluster.find({'TPU_WORKER_HOSTNAMES': hosts})
    self.assertEqual(found, expected)

  @parameterized.parameters(
      ({'JAX_PROCESS_ID': '4'}, 'JAX_PROCESS_ID: 4 is not one of'),
      ({'JAX_PROCESS_ID': '-1'}, 'JAX_PROCESS_ID: -1 is not one of'),
      ({'JAX_NUM_PROCESSES': 'two'}, "JAX_NUM_PROCESSES: 'two' is no whole"),
      ({'JAX_COORDINATOR_ADDRESS': 'first'}, "'first' has no port"),
      ({'JAX_COORDINATOR_ADDRESS': ''}, 'set without JAX_COORDINATOR_ADDRESS'),
  )
  def test_what_is_wrong_is_named(self, change, message):
    with self.assertRaisesRegex(errors.InputError, message):
      cluster.find(_GIVEN | change)


class JoinTest(absltest.TestCase):

  def join(self, required, environ):
    return cluster.join(
        required=required, peer_timeout_seconds=1, environ=environ
    )

  def test_alone(self):
    self.assertEqual(self.join(None, {}), cluster.Place(0, 1))
    self.assertTrue(cluster.is_first())
    cluster.wait_for_all('nobody')

  def test_a_cluster_that_is_not_wanted_is_left_alone(self):
    self.assertEqual(self.join(False, _GIVEN), cluster.Place(0, 1))


if __name__ == '__main__':
  absltest.main()

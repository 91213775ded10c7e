"""The DAG: with stand-ins everywhere, and with Airflow where there is one.

AIRFLOW_PYTHON names a Python that has it; it need not be that of the tests.
"""

import datetime
import importlib.util
import json
import os
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests.launch import airflow_stand_ins
from tests.launch import recipes


class AirflowTest(parameterized.TestCase):

  def load(self, version):
    path = recipes.SCHEDULES / 'airflow_dag.py'
    spec = importlib.util.spec_from_file_location('airflow_dag', path)
    module = importlib.util.module_from_spec(spec)
    with airflow_stand_ins.installed(version):
      spec.loader.exec_module(module)
    return module

  @parameterized.parameters(2, 3)
  def test_runs_the_halves_daily_one_run_at_a_time(self, version):
    dag = self.load(version).dag
    self.assertEqual(recipes.hours_of_starts(dag.schedule), [1, 25, 49])
    self.assertTrue(dag.catchup)
    self.assertEqual(dag.max_active_runs, 1)
    self.assertGreater(dag.default_args['retries'], 0)
    self.assertGreater(dag.default_args['retry_delay'], datetime.timedelta())
    prepare, refresh = dag.tasks
    self.assertEqual(prepare.bash_command, f'bash {recipes.SCRIPT} prepare')
    self.assertEqual(refresh.bash_command, f'bash {recipes.SCRIPT} refresh')
    self.assertEqual(prepare.downstream, ['refresh'])

  @parameterized.parameters(2, 3)
  def test_tasks_have_the_settings_and_the_environment_of_workers(
      self, version
  ):
    for task in self.load(version).dag.tasks:
      self.assertEqual(task.env.keys(), recipes.NEEDED | {'LIMAML_CUTOFF'})
      self.assertEqual(
          task.env['LIMAML_CUTOFF'],
          "{{ data_interval_end.in_timezone('UTC')"
          ".start_of('day').isoformat() }}",
      )
      self.assertTrue(task.append_env)
      self.assertEqual(task.skip_on_exit_code, recipes.REFUSED)

  @parameterized.product(
      version=(2, 3),
      status_and_error=(
          (recipes.REFUSED, airflow_stand_ins.FailError),
          (1, airflow_stand_ins.RetriedError),
      ),
  )
  def test_only_a_refused_snapshot_fails_for_good(
      self, version, status_and_error
  ):
    status, error = status_and_error
    operator = self.load(version).dag.tasks[1]
    operator.bash_command = f'exit {status}'
    with self.assertRaises(error):
      operator.execute({})

  @parameterized.parameters(2, 3)
  def test_success_returns_what_the_operator_does(self, version):
    operator = self.load(version).dag.tasks[1]
    operator.bash_command = 'true'
    self.assertEqual(operator.execute({}), 'output')

  def test_airflow_imports_and_runs_it(self):
    python = os.environ.get('AIRFLOW_PYTHON', sys.executable)
    if recipes.run(python, '-c', 'import airflow').returncode:
      self.skipTest(f'DAG NOT IMPORTED: no Airflow in {python}')
    script = f"""
import json, runpy
module = runpy.run_path({str(recipes.SCHEDULES / 'airflow_dag.py')!r})
dag, operator = module['dag'], module['GatedOperator']
errors = []
for status in (3, 1):
  try:
    operator(task_id='x', bash_command=f'exit {{status}}',
             skip_on_exit_code=3).execute({{}})
  except Exception as error:
    errors.append(type(error).__name__)
print(json.dumps([
    dag.catchup, dag.max_active_runs,
    [[task.task_id, task.retries, *task.downstream_task_ids]
     for task in dag.tasks], errors]))
"""
    home = self.create_tempdir().full_path
    result = recipes.run(
        python, '-c', script, env=os.environ | {'AIRFLOW_HOME': home}
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertEqual(
        json.loads(result.stdout.splitlines()[-1]),
        [
            True, 1, [['prepare', 2, 'refresh'], ['refresh', 2]],
            ['AirflowFailException', 'AirflowException'],
        ],
    )  # fmt: skip


if __name__ == '__main__':
  absltest.main()

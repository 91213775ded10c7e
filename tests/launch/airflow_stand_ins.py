"""Just enough of Airflow 2 and 3 to import a DAG and run its operators.

Signatures list what the DAG may use; anything else is a TypeError, as there.
"""

import datetime
import subprocess
import sys
import types
from unittest import mock
import zoneinfo


class SkipError(Exception):
  """Stands for AirflowSkipException."""


class FailError(Exception):
  """Stands for AirflowFailException: no retries."""


class RetriedError(Exception):
  """Stands for AirflowException: retried."""


class DAG:
  """Keeps its arguments; tasks made inside join it."""

  current = None

  def __init__(
      self, dag_id, *, description, schedule, start_date, catchup,
      max_active_runs, default_args, tags,
  ):  # fmt: skip
    del description, tags
    self.dag_id, self.schedule, self.start_date = dag_id, schedule, start_date
    self.catchup, self.max_active_runs = catchup, max_active_runs
    self.default_args = default_args
    self.tasks = []

  def __enter__(self):
    DAG.current = self
    return self

  def __exit__(self, *error):
    DAG.current = None


class BashOperator:
  """Runs its command; a status of `skip_on_exit_code` skips."""

  def __init__(
      self, *, task_id, bash_command, env=None, append_env=False,
      skip_on_exit_code=99, execution_timeout=None,
  ):  # fmt: skip
    del execution_timeout
    self.task_id, self.bash_command, self.env = task_id, bash_command, env
    self.append_env, self.skip_on_exit_code = append_env, skip_on_exit_code
    self.downstream = []
    if DAG.current is not None:
      DAG.current.tasks.append(self)

  def __rshift__(self, other):
    self.downstream.append(other.task_id)
    return other

  def execute(self, context):
    del context
    status = subprocess.run(['bash', '-c', self.bash_command]).returncode
    if status == self.skip_on_exit_code:
      raise SkipError
    if status:
      raise RetriedError
    return 'output'


def _datetime(*parts, tz):
  return datetime.datetime(*parts, tzinfo=zoneinfo.ZoneInfo(tz))


def installed(version):
  """Returns a context in which only that Airflow can be imported."""
  errors = {
      'AirflowFailException': FailError, 'AirflowSkipException': SkipError
  }  # fmt: skip
  contents = {'airflow': {}, 'pendulum': {'datetime': _datetime}}
  if version == 3:
    contents['airflow.sdk'] = {'DAG': DAG}
    contents['airflow.sdk.exceptions'] = errors
    operators = 'airflow.providers.standard.operators'
  else:
    contents['airflow'] = {'DAG': DAG}
    contents['airflow.exceptions'] = errors
    operators = 'airflow.operators'
  contents[f'{operators}.bash'] = {'BashOperator': BashOperator}
  for name in list(contents):
    while '.' in name:
      name = name.rpartition('.')[0]
      contents.setdefault(name, {})
  modules = {}
  for name, values in contents.items():
    modules[name] = types.ModuleType(name)
    modules[name].__path__ = []  # A package, in which nothing else is found.
    vars(modules[name]).update(values)
  return mock.patch.dict(sys.modules, modules)

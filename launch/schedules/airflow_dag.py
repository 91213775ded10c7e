"""The daily refresh as a DAG of Airflow 2 or 3: prepare, then refresh.

Copy it into the DAG folder. The workers have the repository at REPOSITORY, and
LIMAML_REDIS_PASSWORD in their own environment if the store needs it: what
stands here is shown by the web server.

A run publishes the snapshot of one cutoff, the last midnight in its interval,
and running it again changes nothing; so missed days may be caught up, one after
another, oldest first.
"""
# pyrefly: ignore-errors[missing-import]

import datetime

try:
  from airflow.providers.standard.operators.bash import BashOperator
  from airflow.sdk import DAG
  from airflow.sdk.exceptions import AirflowFailException
  from airflow.sdk.exceptions import AirflowSkipException
except ImportError:  # Airflow 2.
  from airflow import DAG
  from airflow.exceptions import AirflowFailException
  from airflow.exceptions import AirflowSkipException
  from airflow.operators.bash import BashOperator
import pendulum

REPOSITORY = '/opt/limaml'
ZONE = 'UTC'
FIRST_DAY = pendulum.datetime(2026, 1, 1, tz=ZONE)  # Earlier ones: no run.
GATE_REFUSED = 3  # Exit status of launch/refresh.sh.
SETTINGS = {
    'LIMAML_SCHEMA': '/etc/limaml/schema.toml',
    'LIMAML_LOGS': '/srv/limaml/logs/*.parquet',
    'LIMAML_DATA': '/var/lib/limaml/tasks',
    'LIMAML_WORKDIR': '/var/lib/limaml/run',
    'LIMAML_STORE': 'redis://redis.example.com:6379/0',
    'LIMAML_CUTOFF': (
        f"{{{{ data_interval_end.in_timezone('{ZONE}')"
        ".start_of('day').isoformat() }}"
    ),
}


class GatedOperator(BashOperator):
  """Fails for good, without retries, when the gate refused the snapshot.

  BashOperator retries every status but those of `skip_on_exit_code`, which it
  shows as skipped, and a refused snapshot must not look like a day off.
  """

  def execute(self, context):
    """Runs the command; turns the skip of the refusal into a failure."""
    try:
      return super().execute(context)
    except AirflowSkipException as error:
      raise AirflowFailException(
          'The gate refused the snapshot; the store serves the one before. '
          'See "Schedule it" in docs/refresh.md.'
      ) from error


def make_step(name):
  """Returns the task that runs one half of the refresh."""
  return GatedOperator(
      task_id=name,
      bash_command=f'bash {REPOSITORY}/launch/refresh.sh {name}',
      env=SETTINGS,
      append_env=True,
      skip_on_exit_code=GATE_REFUSED,
      execution_timeout=datetime.timedelta(hours=6),
  )


with DAG(
    dag_id='limaml_refresh',
    description='Meta embeddings of all entities, made anew every day.',
    schedule='0 1 * * *',  # In ZONE; an hour for logs that arrive late.
    start_date=FIRST_DAY,
    catchup=True,
    max_active_runs=1,  # Snapshots appear in the order of their cutoffs.
    default_args={
        'owner': 'limaml',
        'retries': 2,
        'retry_delay': datetime.timedelta(minutes=15),
    },
    tags=['limaml'],
) as dag:
  make_step('prepare') >> make_step('refresh')

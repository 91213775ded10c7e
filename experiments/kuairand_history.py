r"""Adds to KuaiRand-Pure's user table what each user did before the log begins.

    python -m experiments.kuairand_history --data_dir=DIR --output=DIR2

The release has, of each user, up to 50 videos shown before the first day, and
which of them were watched for long or liked. They have no times of their own,
so they are no events; DIR2 gets the user table with their counts, and links to
the raw files. All of it precedes the first event. The schema
`kuairand_everything` reads DIR2.
"""

import pathlib

from absl import flags
import duckdb

from experiments import binary
from limaml_jax import errors

flags.adopt_module_key_flags(binary)

_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Directory of the raw files.', required=True
)
_OUTPUT = flags.DEFINE_string(
    'output',
    None,
    'Receives the table, and links to the raw files.',
    required=True,
)

_USERS = 'user_features_pure.csv.gz'
_HISTORY = 'user_sequences_before_20220425.parquet'
_WITH_HISTORY = 'user_features_with_history.parquet'
# A user whom the history lacks has empty cells; so has a share of nothing.
_QUERY = """
select
  users.*,
  len(watch_seq) as history_shown,
  len(long_watch_seq) / nullif(len(watch_seq), 0) as history_long_views,
  len(like_seq) as history_likes,
  history_len as history_length,
  (select max(last_time_ms) from read_parquet($history)) / 864e5
    - last_time_ms / 864e5 as history_days_since
from read_csv($users) as users
left join read_parquet($history) as history using (user_id)
order by user_id
"""


def main() -> None:
  """Writes the table."""
  source = pathlib.Path(_DATA_DIR.value).resolve()
  output = pathlib.Path(_OUTPUT.value)
  for name in (_USERS, _HISTORY):
    if not (source / name).is_file():
      raise errors.InputError(
          f'{source / name}: no such file; --data_dir names the raw files of '
          'KuaiRand-Pure'
      )
  output.mkdir(parents=True, exist_ok=True)
  for path in source.iterdir():
    link = output / path.name
    if not link.exists():
      link.symlink_to(path)
  _write_table(source, output / _WITH_HISTORY)
  print(f'{output / _WITH_HISTORY}: users with what was before the log')


def _write_table(source: pathlib.Path, path: pathlib.Path) -> None:
  """Writes the table, whole or not at all."""
  files = {'users': str(source / _USERS), 'history': str(source / _HISTORY)}
  connection = duckdb.connect()
  try:
    connection.execute(f'create table users as {_QUERY}', files)
  except duckdb.Error as error:
    raise errors.InputError(
        f'{source}: {str(error).splitlines()[0]}; is {_USERS} or {_HISTORY} not'
        ' that of the release, or not whole?'
    ) from error
  temporary = path.with_name(f'.{path.name}')
  connection.table('users').write_parquet(str(temporary))
  temporary.replace(path)


if __name__ == '__main__':
  binary.run(main)

r"""Adds to KuaiRand-Pure's tables what was seen before the log begins.

    python -m experiments.kuairand_history --data_dir=DIR --output=DIR2

The release has, of each user, up to 50 videos shown before the first day, and
which of them were watched for long or liked. They have no times of their own,
so they are no events; DIR2 gets the user table and the video table with their
counts, and links to the raw files. All of it precedes the first event. The
schema `kuairand_everything` reads DIR2.
"""

import pathlib

from absl import flags
import duckdb

from experiments import binary
from experiments import raw_links
from limaml_jax import errors

flags.adopt_module_key_flags(binary)

_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Directory of the raw files.', required=True
)
_OUTPUT = flags.DEFINE_string(
    'output',
    None,
    'Receives the tables, and links to the raw files.',
    required=True,
)

_USERS = 'user_features_pure.csv.gz'
_VIDEOS = 'video_features_basic_pure.csv.gz'
_HISTORY = 'user_sequences_before_20220425.parquet'
# A user whom the history lacks has empty cells; so has a share of nothing.
_USER_QUERY = """
select
  users.*,
  len(watch_seq) as history_shown,
  len(long_watch_seq) / nullif(len(watch_seq), 0) as history_long_views,
  len(like_seq) as history_likes,
  history_len as history_length,
  (select max(last_time_ms) from read_parquet($history)) / 864e5
    - last_time_ms / 864e5 as history_days_since
from read_csv($table) as users
left join read_parquet($history) as history using (user_id)
order by user_id
"""
# Shares lean to that of all videos, as if each had been shown so often more.
_PRIOR_SHOWN = 20
_VIDEO_QUERY = f"""
with shown as (
  select
    unnest(watch_seq) as video_id,
    list_contains(long_watch_seq, video_id)::int as is_long_view,
    list_contains(like_seq, video_id)::int as is_like
  from read_parquet($history)
),
history as (
  select
    video_id, count(*) as shown,
    sum(is_long_view) as long_views, sum(is_like) as likes
  from shown group by video_id
),
mean as (
  select avg(is_long_view) as long_views, avg(is_like) as likes from shown
)
select
  videos.*,
  coalesce(shown, 0) as video_history_shown,
  (coalesce(history.long_views, 0) + {_PRIOR_SHOWN} * mean.long_views)
    / (video_history_shown + {_PRIOR_SHOWN}) as video_history_long_views,
  (coalesce(history.likes, 0) + {_PRIOR_SHOWN} * mean.likes)
    / (video_history_shown + {_PRIOR_SHOWN}) as video_history_likes
from read_csv($table) as videos
left join history using (video_id)
cross join mean
order by video_id
"""
# Of each raw table, what is written of it.
_WITH_HISTORY = {
    _USERS: ('user_features_with_history.parquet', _USER_QUERY),
    _VIDEOS: ('video_features_with_history.parquet', _VIDEO_QUERY),
}


def main() -> None:
  """Writes the tables."""
  source = pathlib.Path(_DATA_DIR.value).resolve()
  output = pathlib.Path(_OUTPUT.value)
  for name in (*_WITH_HISTORY, _HISTORY):
    if not (source / name).is_file():
      raise errors.InputError(
          f'{source / name}: no such file; --data_dir names the raw files of '
          'KuaiRand-Pure'
      )
  output.mkdir(parents=True, exist_ok=True)
  raw_links.write(source, output)
  for name, (written, query) in _WITH_HISTORY.items():
    _write_table(source, name, query, output / written)
    print(f'{output / written}: with what was before the log')


def _write_table(
    source: pathlib.Path, name: str, query: str, path: pathlib.Path
) -> None:
  """Writes one table, whole or not at all."""
  files = {'table': str(source / name), 'history': str(source / _HISTORY)}
  connection = duckdb.connect()
  try:
    connection.execute(f'create table written as {query}', files)
  except duckdb.Error as error:
    raise errors.InputError(
        f'{source}: {str(error).splitlines()[0]}; is {name} or {_HISTORY} not'
        ' that of the release, or not whole?'
    ) from error
  temporary = path.with_name(f'.{path.name}')
  connection.table('written').write_parquet(str(temporary))
  temporary.replace(path)


if __name__ == '__main__':
  binary.run(main)

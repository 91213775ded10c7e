r"""Writes MovieLens ratings in the order of a protocol that others published.

    python -m experiments.movielens_protocols --data_dir=DIR \
        --protocol=gdmix --output=DIR2

A split here is one by time. DIR2 gets the ratings with times that make such a
split the published one, and links to the other raw files; the times are places
in an order and mean nothing else.

`gdmix` (MovieLens-100K, configs/ml100k_gdmix.py): LinkedIn's GDMix divides the
rows at random, 80 to 20, and knows no time: training rows may be later than
test rows, which no service could have. It is here because its table is
published under that split, and for nothing else. All rows stand in random
order, the same each time, a second apart; the last fifth are tested, and the
tenth before them is the validation window. Either has one time for all of its
rows, so that none of them tells anything of another.

`metaspore` (MovieLens-1M, configs/ml1m_metaspore.py): MetaSpore tests each
user's last rating, then drops rating 3 from training and test, so that users
whose last rating is 3 are not tested. Of ratings of the same second the first
of the file counts as the last. Others train in their true order, though a test
row may be earlier than training rows of other users. Ratings of the validation
window, the last five of each user that are left, are moved to 2004, those of
the test to 2005.
"""

import pathlib
from typing import NamedTuple

from absl import flags
import duckdb

from experiments import binary
from experiments import raw_links
from limaml_jax import errors

flags.adopt_module_key_flags(binary)


class _Protocol(NamedTuple):
  """Of which file, and what is written of it."""

  file: str
  query: str


# The rows of the validation, and those of the test, share an instant.
_GDMIX = """
with shuffled as (
  select *, row_number() over (order by md5(user || ' ' || item)) - 1 as drawn
  from ratings
),
shared as (
  select *, drawn / (select count(*) from ratings) as share from shuffled
)
select
  user, item, rating,
  case
    when share >= 0.8 then epoch('2005-01-01'::timestamp)::bigint
    when share >= 0.72 then epoch('2004-01-01'::timestamp)::bigint
    else epoch('2000-01-01'::timestamp)::bigint + drawn
  end as time
from shared order by drawn
"""
_METASPORE = """
with by_user as (
  select
    *, row_number() over (partition by user order by time desc, place) as age
  from ratings
),
kept as (
  select
    *, age = 1 as is_test,
    row_number() over (
      partition by user, age = 1 order by time desc, place
    ) as age_in_part
  from by_user where rating::double <> 3
)
select
  user, item, rating,
  case
    when is_test then epoch('2005-01-01'::timestamp)::bigint
    when age_in_part <= 5
      then epoch('2004-01-01'::timestamp)::bigint - age_in_part + 5
    else time
  end as time
from kept order by place
"""
_PROTOCOLS = {
    'gdmix': _Protocol('ml-100k.inter', _GDMIX),
    'metaspore': _Protocol('ml-1m.inter', _METASPORE),
}
_HEADER = 'user_id:token\titem_id:token\trating:float\ttimestamp:float'

_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Directory of the raw atomic files.', required=True
)
_PROTOCOL = flags.DEFINE_enum(
    'protocol', None, list(_PROTOCOLS), 'Whose split.', required=True
)
_OUTPUT = flags.DEFINE_string(
    'output',
    None,
    'Receives the ratings, and links to the other raw files.',
    required=True,
)


def main() -> None:
  """Writes the ratings."""
  source = pathlib.Path(_DATA_DIR.value).resolve()
  output = pathlib.Path(_OUTPUT.value)
  protocol = _PROTOCOLS[_PROTOCOL.value]
  if not (source / protocol.file).is_file():
    raise errors.InputError(
        f'{source / protocol.file}: no such file; --data_dir names the raw'
        f' files that {_PROTOCOL.value} is about'
    )
  rows = _in_order(source / protocol.file, protocol.query)
  output.mkdir(parents=True, exist_ok=True)
  raw_links.write(source, output, without=protocol.file)
  lines = [_HEADER, *('\t'.join(map(str, row)) for row in rows)]
  temporary = output / f'.{protocol.file}'
  temporary.write_text('\n'.join(lines) + '\n')
  temporary.replace(output / protocol.file)
  print(f'{output / protocol.file}: {len(rows)} ratings')


def _in_order(path: pathlib.Path, query: str) -> list[tuple]:
  """Returns user, item, rating and time of the rows that a query keeps."""
  connection = duckdb.connect()
  try:
    connection.execute(
        """
        create table ratings as
        select
          "user_id:token" as user, "item_id:token" as item,
          "rating:float" as rating,
          "timestamp:float"::double::bigint as time,
          row_number() over () as place
        from read_csv($path, delim='\t', quote='', escape='', all_varchar=true)
        """,
        {'path': str(path)},
    )
    return connection.execute(query).fetchall()
  except duckdb.Error as error:
    raise errors.InputError(
        f'{path}: {str(error).splitlines()[0]}; is it that of RecBole?'
    ) from error


if __name__ == '__main__':
  binary.run(main)

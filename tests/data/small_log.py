"""A small log in files of its own, to be spoiled by tests one way at a time."""

import pathlib

from limaml_jax import config as config_lib
from limaml_jax.data import dataset
from limaml_jax.data import prepare

SCHEMA = """
name = "small"

[interactions]
files = ["log*.csv"]
format = "csv"
item = "movie"
timestamp = "time"
timestamp_unit = "s"
label = "rating >= 4"
duplicates = "error"
outcomes = ["rating", "watched"]

[entities.user]
key = "user"

[entities.user.side_table]
files = ["users.csv"]
format = "csv"
key = "id"

[item.side_table]
files = ["movies.csv"]
format = "csv"
key = "id"

[[features]]
name = "age"
owner = "entity"
kind = "numeric"
role = "meta"
column = "age"

[[features]]
name = "city"
owner = "entity"
kind = "categorical"
role = "meta"
column = "city"

[[features]]
name = "genres"
owner = "item"
kind = "multi_hot"
role = "global"
column = "genres"
separator = "|"
max_values = 2

[[features]]
name = "length"
owner = "item"
kind = "numeric"
role = "global"
column = "length"
fill = 100
transform = "log1p"

[[features]]
name = "device"
owner = "context"
kind = "categorical"
role = "global"
column = "device"
"""

HEADER = 'user,movie,rating,watched,time,device'
START = 1_000_000_000  # 2001-09-09, seconds.
# Ten events of ann, five of bob, one of cat, in the order of time.
EVENTS = (
    *(
        f'ann,m{n % 4},{1 + n % 5},{n},{START + 100 * n},{device}'
        for n, device in enumerate(['tv'] * 8 + ['car'] * 2)
    ),
    *(
        f'bob,m{n % 3},{5 - n % 2},{n},{START + 50 + 100 * n},tv'
        for n in range(5)
    ),
    f'cat,m9,4,0,{START + 7},tv',
)
USERS = ('id,age,city', 'ann,30,Rome', 'bob,50,Oslo', 'zoe,90,Rome')
MOVIES = (
    'id,genres,length',
    'm0,war|love|war|cats,99',
    'm1,love,',
    'm2,,9',
    'm3,love|dogs,999',
    'm7,dogs,1',
)


class SmallLog:
  """Files under a directory of the test's own, and their preparation."""

  def __init__(self, directory: str):
    self._name_paths(directory)
    self.raw.mkdir()
    self.schema.write_text(SCHEMA)
    self.write_events(EVENTS)
    self.write('users.csv', USERS)
    self.write('movies.csv', MOVIES)

  @classmethod
  def at(cls, directory):
    """Returns the log whose files lie in a directory already."""
    log = cls.__new__(cls)
    log._name_paths(directory)
    return log

  def _name_paths(self, directory):
    self.root = pathlib.Path(directory)
    self.raw = self.root / 'raw'
    self.output = self.root / 'output'
    self.schema = self.root / 'schema.toml'

  def write(self, name, lines):
    (self.raw / name).write_text('\n'.join(lines) + '\n')

  def write_events(self, lines, name='log.csv', header=HEADER):
    self.write(name, [header, *lines])

  def edit_schema(self, old, new):
    text = self.schema.read_text()
    assert old in text, old
    self.schema.write_text(text.replace(old, new))

  def add_feature(self, **keys):
    lines = [f'{key} = {value!r}' for key, value in keys.items()]
    with self.schema.open('a') as file:
      file.write('\n[[features]]\n' + '\n'.join(lines) + '\n')

  def prepare(
      self,
      *,
      min_count=1,
      output=None,
      task_entity='user',
      max_events_per_entity=0,
      max_reject_fraction=0.01,
      engine='duckdb',
      spark_master='',
      encoding_of=None,
      **protocol,
  ) -> dataset.DatasetInfo:
    return prepare.prepare(
        self.schema,
        self.raw,
        output or self.output,
        data=config_lib.DataConfig(
            min_count=min_count,
            task_entity=task_entity,
            max_events_per_entity=max_events_per_entity,
        ),
        protocol=config_lib.ProtocolConfig(**protocol),
        engine=engine,
        spark_master=spark_master,
        max_reject_fraction=max_reject_fraction,
        encoding_of=encoding_of,
    )

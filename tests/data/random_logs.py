"""Random logs, protocols, and what could become of their future."""

import dataclasses
import os

import hypothesis
from hypothesis import strategies
import small_log

from limaml_jax.data.tasks import protocol as protocol_lib

# A log is prepared twice; LIMAML_EXAMPLES=200 tries so many.
SETTINGS = hypothesis.settings(
    deadline=None,
    derandomize=True,
    max_examples=int(os.environ.get('LIMAML_EXAMPLES', '6')),
    suppress_health_check=list(hypothesis.HealthCheck),
)
_HOUR = 3600
START = small_log.START // _HOUR * _HOUR
_LAST_HOUR = 12
ENTITIES = ('ann', 'bob', 'cat', 'dan', 'eve')
HEADER = 'user,movie,rating,watched,time,device,price,shelf,weight'


@dataclasses.dataclass(frozen=True)
class Event:
  """A row of the log; `time` is in seconds after the start."""

  user: str
  movie: str
  rating: int
  time: float
  device: str
  price: int
  shelf: str
  weight: int

  @property
  def second(self) -> int:
    """Of the event, as the dataset counts."""
    return START + int(self.time)

  def line(self) -> str:
    """Returns the row as the log spells it."""
    return (
        f'{self.user},{self.movie},{self.rating},0,{START + self.time!r},'
        f'{self.device},{self.price},{self.shelf},{self.weight}'
    )


# Quarters of a second and of an hour: many ties, some within a second only.
_times = strategies.builds(
    lambda quarters, part: quarters * _HOUR / 4 + part / 4,
    strategies.integers(0, 4 * _LAST_HOUR - 1),
    strategies.sampled_from([0, 0, 0, 1, 3, 4]),
)
_events = strategies.builds(
    Event,
    user=strategies.sampled_from(ENTITIES),
    movie=strategies.sampled_from(['m0', 'm1', 'm2', 'm9']),
    rating=strategies.integers(1, 5),
    time=_times,
    device=strategies.sampled_from(['tv', 'car', '']),
    price=strategies.integers(0, 9),
    shelf=strategies.sampled_from(['a', 'b', 'c']),
    weight=strategies.integers(0, 9),
)


@strategies.composite
def logs(draw):
  """Returns events in any order, some rows there twice.

  Two entities have one every other hour: so there is always what trains, and
  what is tested.
  """
  events = draw(strategies.lists(_events, max_size=40))
  for hour in range(_LAST_HOUR):
    user, movie = ENTITIES[hour % 2], f'm{hour % 3}'
    event = draw(_events)
    events.append(
        dataclasses.replace(event, user=user, movie=movie, time=hour * _HOUR)
    )
  repeated = draw(strategies.lists(strategies.sampled_from(events), max_size=3))
  return events + repeated


@strategies.composite
def changes(draw):
  """Returns what becomes of an event of the future: some events, or none."""
  kind = draw(strategies.sampled_from(['delete', 'alter', 'add', 'mix']))
  later = draw(strategies.sampled_from([0, 0.25, 1, 5 * _HOUR]))

  def change(event, number):
    how = ('delete', 'alter', 'add')[number % 3] if kind == 'mix' else kind
    altered = dataclasses.replace(
        event,
        movie=f'future{number % 2}',
        rating=6 - event.rating,
        time=event.time + later,
        device='future',
        price=10**6 + number,
        shelf='future',
        weight=10**6,
    )
    added = dataclasses.replace(altered, user=f'future{number % 3}')
    return {'delete': [], 'alter': [altered], 'add': [event, altered, added]}[
        how
    ]

  return change


def iso(seconds):
  """Returns the time that a setting has for so many seconds since 1970."""
  return protocol_lib.format_time(seconds)


@strategies.composite
def by_time(draw):
  """Returns settings whose refreshes lie inside of the log."""
  hours = strategies.integers(1, _LAST_HOUR - 1)
  bounds = sorted(draw(strategies.sets(hours, min_size=3, max_size=3)))
  start, middle, end = (iso(START + hour * _HOUR) for hour in bounds)
  return {
      'split': 'by_time',
      'validation_start': start,
      'train_end': middle,
      'test_end': end,
      'refresh_hours': draw(strategies.sampled_from([0, 1, 2])),
      'phase': draw(strategies.sampled_from(['test', 'validation'])),
  }


within_entity = strategies.fixed_dictionaries({
    'split': strategies.just('within_entity'),
    'test_fraction': strategies.sampled_from([0.2, 0.5, 0.7]),
    'new_entity_fraction': strategies.sampled_from([0.0, 0.3, 0.45]),
    'phase': strategies.sampled_from(['test', 'validation']),
})


def alter(event, later):
  """Returns an event that tells something else, no earlier."""
  return dataclasses.replace(
      event, movie='future', rating=6 - event.rating, time=event.time + later,
      device='future', price=10**6, shelf='future', weight=10**6,
  )


def rows_of(examples, row):
  """Returns one task's arrays as texts: nan is nan where they are compared."""
  tree = {
      **{f'meta {k}': v for k, v in examples.meta_features['user'].items()},
      **examples.features,
      'labels': examples.labels,
      'mask': examples.mask,
  }
  return {name: repr(values[row].tolist()) for name, values in tree.items()}

"""Protocol: the settings that say which events train and which are tested."""

import datetime

from limaml_jax import config as config_lib
from limaml_jax import errors


def describe(protocol: config_lib.ProtocolConfig) -> str:
  """Says in one line how events are split, for people."""
  if protocol.split == 'by_time':
    start, end = protocol.train_end, protocol.test_end
    if protocol.phase == 'validation':
      start, end = protocol.validation_start, protocol.train_end
    refresh = (
        f'refreshed every {protocol.refresh_hours} h'
        if protocol.refresh_hours else 'generated once'
    )
    return (
        f'{protocol.phase}: trained before {start}, tested before {end},'
        f' embeddings {refresh}'
    )
  newcomers = (
      f', {protocol.new_entity_fraction:.0%} of entities are newcomers'
      if protocol.new_entity_fraction else ''
  )
  return (
      f'{protocol.phase}: last {protocol.test_fraction:.0%} of each'
      f" entity's events{newcomers}"
  )


def check(protocol: config_lib.ProtocolConfig) -> None:
  """Refuses settings that are wrong or would be ignored.

  Raises:
    InputError: naming the setting.
  """
  if protocol.split not in ('within_entity', 'by_time'):
    raise errors.InputError(
        f"protocol.split: is {protocol.split!r}; set 'within_entity' or"
        " 'by_time'"
    )
  if protocol.phase not in ('test', 'validation'):
    raise errors.InputError(
        f"protocol.phase: is {protocol.phase!r}; set 'test' or 'validation'"
    )
  for name in ('test_fraction', 'new_entity_fraction'):
    value = getattr(protocol, name)
    if not 0 <= value < 1:
      raise errors.InputError(f'protocol.{name}: is {value}; set 0 to below 1')
  by_time = protocol.split == 'by_time'
  if by_time and protocol.new_entity_fraction:
    raise errors.InputError(
        "protocol.new_entity_fraction: is for split 'within_entity'; set it"
        ' to 0'
    )
  if not by_time and protocol.refresh_hours:
    raise errors.InputError(
        "protocol.refresh_hours: is for split 'by_time'; set it to 0"
    )
  if protocol.refresh_hours < 0:
    raise errors.InputError(
        f'protocol.refresh_hours: is {protocol.refresh_hours}; set 0 or more'
    )
  if protocol.phase == 'validation' and protocol.new_entity_fraction >= 0.5:
    raise errors.InputError(
        'protocol.new_entity_fraction: leaves no entities for validation; set'
        ' it below 0.5'
    )


def parse_time(text: str, setting: str) -> int:
  """Returns the UTC seconds of an ISO time with zone.

  Raises:
    InputError: naming the setting, if it is anything else.
  """
  try:
    time = datetime.datetime.fromisoformat(text)
  except ValueError:
    time = None
  if time is None or time.tzinfo is None:
    raise errors.InputError(
        f'protocol.{setting}: is {text!r}, expected an ISO time with zone; set'
        " it like '2022-05-04T00:00:00+08:00'"
    )
  return int(time.timestamp())


def format_time(seconds: int) -> str:
  """Returns the ISO time of UTC seconds."""
  time = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
  return time.isoformat()

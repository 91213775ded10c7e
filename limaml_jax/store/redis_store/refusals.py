"""Refusals: what Redis, or the way to it, says, and what to do about it."""

import re

import redis

from limaml_jax import errors
from limaml_jax.store.redis_store import place as place_lib

_STAYS = 'what is published stays'
_READ_ONLY = 'a replica, which only reads; give the address of the primary'
_FULL = f'out of memory (its maxmemory); raise it, or `prune`; {_STAYS}'
# First match counts: kind of error -> what it means, and what to do.
_BY_KIND = (
    (
        (
            redis.exceptions.AuthenticationError,
            redis.exceptions.AuthorizationError,
            redis.exceptions.AuthenticationWrongNumberOfArgsError,
        ),
        'wrong user or password, or none; set '
        f'{place_lib.USERNAME} and {place_lib.PASSWORD}',
    ),
    (
        redis.exceptions.NoPermissionError,
        'this user may not do that ({text}); let an administrator allow it',
    ),
    (
        redis.exceptions.BusyLoadingError,
        'still loads its data after a start; try again in a while',
    ),
    (
        redis.exceptions.MaxConnectionsError,
        'more connections than max_connections allows; raise it',
    ),
    (
        redis.exceptions.TimeoutError,
        'no answer in time ({text}); look at its load and the network, or raise'
        ' socket_timeout and socket_connect_timeout, e.g. ?socket_timeout=60',
    ),
    (
        redis.exceptions.InvalidResponse,
        'answers as no Redis does; look whether host and port are right',
    ),
    (
        redis.exceptions.MovedError,
        'a cluster that keeps this entity type on another of its nodes ({text}:'
        ' slot, then node); give the address of that node',
    ),
    (
        redis.exceptions.MasterDownError,
        'a replica that has lost its primary; give the address of the primary',
    ),
    (
        (
            redis.exceptions.ClusterError,
            redis.exceptions.AskError,
            redis.exceptions.TryAgainError,
            redis.exceptions.ClusterCrossSlotError,
        ),
        'a cluster that is not whole, or is moving keys ({text}); wait until'
        ' `redis-cli --cluster check` finds it well',
    ),
    (redis.exceptions.NoScriptError, 'lost a script ({text}); try again'),
    (redis.exceptions.ReadOnlyError, _READ_ONLY),
    (redis.exceptions.OutOfMemoryError, _FULL),
)
# Code within an answer -> the same. Older servers wrap those of scripts, and
# redis-py those of pipelines.
_BY_CODE = (
    ('READONLY', _READ_ONLY),
    ('OOM', _FULL),
    (
        'WRONGTYPE',
        "something else lies under the store's keys; choose another ?prefix=",
    ),
    (
        'MISCONF',
        'cannot save to its disk, and so takes no writes; look at the log of'
        f' the server; {_STAYS}',
    ),
    ('NOREPLICAS', f'too few of its replicas are up; mend them; {_STAYS}'),
    ('NOPERM', 'this user may not do that; let an administrator allow it'),
)


def explained(
    place: place_lib.Place, error: redis.RedisError | OSError
) -> errors.InputError:
  """Returns the error of one line that stands for one of redis-py."""
  text = place_lib.redacted(place, ' '.join(str(error).split()).rstrip('.'))
  return errors.InputError(f'{place.address}: {_meaning(error, text)}')


def _meaning(error, text):
  for kind, meaning in _BY_KIND:
    if isinstance(error, kind):
      return meaning.format(text=text)
  for known, meaning in _BY_CODE:
    if re.search(rf'(^|-|error: ){known}\b', text):
      return meaning
  if isinstance(error, redis.ConnectionError | OSError):
    return (
        f'cannot be reached ({text}); start the server, or mend the address or'
        ' the certificates'
    )
  return f'refused ({text}); Redis 6 or newer is needed'

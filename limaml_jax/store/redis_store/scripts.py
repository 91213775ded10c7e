"""Scripts: what the server does at once, so that nobody sees half of it.

Each may run again after its answer was lost, and then says the same. All reads
come before the first write: what fails, fails before anything has changed.
"""

import redis

from limaml_jax.store.redis_store import keys as keys_lib

DONE = b'done'
ABSENT = b'absent'
LOST = b'lost'
TAKEN = b'taken'
LEFT = b'left'
PUBLISHED = b'published'

_FINISH = """
local unfinished, steps, records, manifests, latest = unpack(KEYS)
local version, manifest, count, num_steps = unpack(ARGV)
local existing = redis.call('HGET', manifests, version)
local arrived = redis.call('GET', steps)
if not arrived and existing == manifest then return 'done' end
if arrived ~= num_steps
    or redis.call('HLEN', unfinished) ~= tonumber(count) then
  return 'lost'
end
local last = tonumber(redis.call('GET', latest) or '0')
if existing or tonumber(version) <= last then return 'taken' end
if tonumber(count) > 0 then
  redis.call('RENAME', unfinished, records)
  redis.call('PERSIST', records)
end
redis.call('HSET', manifests, version, manifest)
redis.call('SET', latest, version)
redis.call('DEL', steps)
return 'done'
"""

_PUBLISH = """
local current, manifests, published, records = unpack(KEYS)
local version, count, leave, expected = unpack(ARGV)
local manifest = redis.call('HGET', manifests, version)
if not manifest then return 'absent' end
if redis.call('HLEN', records) ~= tonumber(count) then return 'lost' end
local named = string.match(redis.call('GET', current) or '', '^%d+')
if leave ~= '' and named ~= leave then
  if named == version and not redis.call('ZSCORE', published, leave) then
    return 'done'
  end
  return 'left'
end
if expected ~= '*' and (named or '') ~= expected and named ~= version then
  return 'left'
end
redis.call('ZADD', published, tonumber(version), version)
redis.call('SET', current, version .. ' ' .. redis.sha1hex(manifest))
if leave ~= '' then redis.call('ZREM', published, leave) end
return 'done'
"""

_DELETE = """
local current, manifests, published, records = unpack(KEYS)
local version = ARGV[1]
local named = string.match(redis.call('GET', current) or '', '^%d+')
if named == version then return 'published' end
redis.call('UNLINK', records)
redis.call('HDEL', manifests, version)
redis.call('ZREM', published, version)
return 'done'
"""


def finish(
    client: redis.Redis,
    keys: keys_lib.Keys,
    token: str,
    *,
    version: str,
    manifest: str,
    count: int,
    num_steps: int,
) -> bytes:
  """Makes an unfinished snapshot a version.

  Returns:
    DONE; LOST if it is not all there; TAKEN if there is such a version.
  """
  return client.register_script(_FINISH)(
      keys=[
          keys.unfinished(token),
          keys.steps(token),
          keys.records(version),
          keys.manifests,
          keys.latest,
      ],
      args=[version, manifest, count, num_steps],
  )


def publish(
    client: redis.Redis,
    keys: keys_lib.Keys,
    *,
    version: str,
    count: int,
    leave: str | None,
    expected: str | None = None,
) -> bytes:
  """Makes a version the published one.

  Returns:
    DONE; ABSENT if there is no such version; LOST if it has not `count`
    records; LEFT if `leave` or `expected` is given, and another is published.
  """
  wanted = '*' if expected is None else expected
  return client.register_script(_PUBLISH)(
      keys=_keys_of_version(keys, version),
      args=[version, count, leave or '', wanted],
  )


def delete(client: redis.Redis, keys: keys_lib.Keys, version: str) -> bytes:
  """Deletes a version; returns DONE, or PUBLISHED if it is that."""
  return client.register_script(_DELETE)(
      keys=_keys_of_version(keys, version), args=[version]
  )


def _keys_of_version(keys, version):
  return [
      keys.current, keys.manifests, keys.published, keys.records(version)
  ]  # fmt: skip

"""Redis as a back end: snapshots in the memory of a server.

What the server should be:
  - Redis 6 or newer, alone, or one node of a cluster: that which keeps the slot
    of the entity type. A replica serves readers.
  - `maxmemory-policy noeviction`. With any other, a snapshot may vanish as a
    whole; readers say so, and serve nobody a default embedding instead.
  - Room for three snapshots: the published one, the one being written, and the
    one to roll back to; about 210 bytes an entity at 64 numbers of float16.
  - Saved to disk (`appendonly yes`), if a restart should not cost a refresh.
  - `lazyfree-lazy-expire yes`, so that what a killed writer left goes, after a
    day, without holding others up.
Who may do what: readers need GET, HGET, HLEN and HMGET on the prefix; writers
all of @read, @write, @scripting and @connection on it.
"""

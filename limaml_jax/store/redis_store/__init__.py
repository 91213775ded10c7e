"""Redis as a back end: snapshots in the memory of a server."""

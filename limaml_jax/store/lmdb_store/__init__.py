"""Snapshots in LMDB: one environment for each, in a folder of its own."""

"""Configurations: what was run, and what it should give."""

"""Absl binaries, one verb each; flags live only here."""

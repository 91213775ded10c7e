"""Lets absl's test helpers run under pytest, which parses no absl flags."""

from absl import flags

flags.FLAGS.mark_as_parsed()

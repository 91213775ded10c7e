"""What launchers tell their users, beside the output of a program."""

import sys


def say(message: str) -> None:
  """Tells the user something that is not output of the program."""
  print(f'launch: {message}', file=sys.stderr, flush=True)

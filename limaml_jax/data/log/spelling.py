"""Spelling: the word that was meant, for messages."""

import difflib


def nearest(word: str, known: list[str]) -> str:
  """Returns a remark that names the known word most like `word`, if any."""
  matches = difflib.get_close_matches(word, known, n=1)
  return f'did you mean {matches[0]!r}?' if matches else f'known: {known}'

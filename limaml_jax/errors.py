"""The one exception that users cause and can mend."""

_NUM_FIRST, _NUM_LAST = 700, 300  # Characters kept of a longer message.


class InputError(Exception):
  """Something that entered is wrong: a log, schema, flag, file or snapshot.

  The message is one line, whatever is quoted in it. It names the place (file,
  row, field) first, and says last what to do. Binaries print it and exit with
  status 1; a traceback means a bug.
  """

  def __init__(self, message: str):
    super().__init__(_one_line(message))


class NotFiniteError(InputError):
  """The settings of a run let its loss go out of bounds."""


def _one_line(text: str) -> str:
  """Escapes what does not print, and leaves out the middle of a long text."""
  if len(text) <= _NUM_FIRST + _NUM_LAST:
    text = _printable(text)
  if len(text) <= _NUM_FIRST + _NUM_LAST:
    return text
  # Cut before it is escaped, which may take long, and after, which lengthens.
  first = _printable(text[:_NUM_FIRST])[:_NUM_FIRST]
  last = _printable(text[-_NUM_LAST:])[-_NUM_LAST:]
  return f'{first} ... {last}'


def _printable(text: str) -> str:
  return ''.join(
      letter if letter.isprintable()
      else letter.encode('unicode_escape').decode()
      for letter in text
  )

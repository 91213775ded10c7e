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


def _one_line(text: str) -> str:
  """Leaves out the middle of a long text, and escapes what does not print."""
  if len(text) > _NUM_FIRST + _NUM_LAST:
    text = f'{text[:_NUM_FIRST]} ... {text[-_NUM_LAST:]}'
  return ''.join(
      letter if letter.isprintable()
      else letter.encode('unicode_escape').decode()
      for letter in text
  )

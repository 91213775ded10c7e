"""The one exception that users cause and can mend."""


class InputError(Exception):
  """Something that entered is wrong: a log, schema, flag, file or snapshot.

  The message is one line. It names the place (file, row, field) and says what
  to do. Binaries print it and exit with status 1; a traceback means a bug.
  """

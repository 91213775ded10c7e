"""Links to raw files, beside what a binary makes of some of them."""

import pathlib

from limaml_jax import errors


def write(
    source: pathlib.Path, output: pathlib.Path, *, without: str = ''
) -> None:
  """Links every file of `source` into `output`; links of before are gone.

  Args:
    source: folder of raw files, absolute.
    output: folder that is there. A file in it that is no link stays.
    without: name of one that is not linked.

  Raises:
    InputError: if they are one folder.
  """
  if output.resolve() == source:
    raise errors.InputError(
        f'{output}: is the folder of the raw files; choose another --output'
    )
  for link in output.iterdir():
    if link.is_symlink():
      link.unlink()  # Perhaps to the files of another folder.
  for path in source.iterdir():
    link = output / path.name
    if path.name != without and not link.exists():
      link.symlink_to(path)

"""Links to raw files, beside what a binary makes of some of them."""

import pathlib


def write(
    source: pathlib.Path, output: pathlib.Path, *, without: str = ''
) -> None:
  """Links every file of `source` into `output`; links of before are replaced.

  Args:
    source: folder of raw files, absolute.
    output: folder that is there. A file in it that is no link stays.
    without: name of one that is not linked.
  """
  for path in source.iterdir():
    link = output / path.name
    if link.is_symlink():
      link.unlink()  # Perhaps to the files of another folder.
    if path.name != without and not link.exists():
      link.symlink_to(path)

"""Seconds by stage of a run, added up over seeds and kept over reruns."""

from collections.abc import Iterator
import contextlib
import json
import pathlib
import time

from experiments import pipeline

_SECONDS_FILE = 'seconds.json'


class StageClock:
  """Times stages of the work in one directory.

  Attributes:
    seconds: by stage.
  """

  def __init__(self, workdir: pathlib.Path):
    self._path = workdir / _SECONDS_FILE
    known = self._path.exists()
    self.seconds: dict[str, float] = (
        json.loads(self._path.read_text()) if known else {}
    )

  @contextlib.contextmanager
  def stage(self, name: str) -> Iterator[None]:
    """Adds the time of a `with` block to a stage."""
    start = time.perf_counter()
    yield
    total = self.seconds.get(name, 0.0) + time.perf_counter() - start
    self.seconds[name] = round(total, 2)
    pipeline.write_text(self._path, json.dumps(self.seconds, indent=2))

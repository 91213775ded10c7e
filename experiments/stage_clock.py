"""Seconds by stage of a run, summed over seeds."""

from collections.abc import Iterator
import contextlib
import json
import pathlib
import time

from experiments import pipeline

_SECONDS_FILE = 'seconds.json'


class StageClock:
  """Times stages of the work in one directory."""

  def __init__(self, workdir: pathlib.Path):
    self._path = workdir / _SECONDS_FILE
    known = self._path.exists()
    self._parts: dict[str, dict[str, float]] = (
        json.loads(self._path.read_text()) if known else {}
    )

  @contextlib.contextmanager
  def stage(self, name: str, part: str = 'all') -> Iterator[None]:
    """Times a `with` block as one part, e.g. one seed, of a stage."""
    start = time.perf_counter()
    yield
    parts = self._parts.setdefault(name, {})
    parts[part] = round(time.perf_counter() - start, 2)
    pipeline.write_text(self._path, json.dumps(self._parts, indent=2))

  def seconds(self) -> dict[str, float]:
    """Returns the seconds of each stage, all parts together."""
    return {
        name: round(sum(parts.values()), 2)
        for name, parts in self._parts.items()
    }

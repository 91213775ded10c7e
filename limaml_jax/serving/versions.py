"""Versions: those of a bundle that are kept, open and compiled.

A snapshot is scored by the version of its own model: new weights may be
exported before or after the store has embeddings that fit them, and either may
be rolled back.
"""

from collections.abc import Callable
import logging
import os
import pathlib
import time
from typing import NamedTuple

from limaml_jax import errors
from limaml_jax.bundle import directory
from limaml_jax.bundle import reading
from limaml_jax.serving import runner as runner_lib

_LOGGER = logging.getLogger(__name__)
_RETRY_SECONDS = 60.0  # A full disk, or a right to read, may be mended.
_NO_STAMP = (0, 0)  # Of a CURRENT that is not there.


class Loaded(NamedTuple):
  """A version that is ready."""

  bundle: reading.Bundle
  runner: runner_lib.Runner


class _State(NamedTuple):
  """What requests see, all of it at once."""

  current: Loaded
  by_fingerprint: dict[str, Loaded]


class _Refusal(NamedTuple):
  """Why the version that CURRENT names is not served.

  Attributes:
    stamp: of CURRENT.
    message: that was told.
    retry_at: when it is tried again, by the clock.
  """

  stamp: tuple[int, int]
  message: str
  retry_at: float


class Versions:
  """All versions of a bundle; one thread may `poll` while others read."""

  def __init__(
      self,
      root: pathlib.Path,
      *,
      max_entities: int,
      clock: Callable[[], float] = time.monotonic,
  ):
    """Opens and compiles the version exported last, and older ones.

    Args:
      root: folder of the bundle.
      max_entities: of a request.
      clock: tells seconds, from any time on.

    Raises:
      InputError: if the version exported last cannot be served.
    """
    self._root = root
    self._max_entities = max_entities
    self._loaded: dict[str, Loaded] = {}
    self._programs: dict[str, runner_lib.Program] = {}
    self._clock = clock
    self._stamp = _NO_STAMP
    self._refusal: _Refusal | None = None
    self._state: _State
    self._load(self._read_stamp())

  @property
  def current(self) -> Loaded:
    """The version exported last."""
    return self._state.current

  def of(self, fingerprint: str | None) -> Loaded | None:
    """Returns the newest version of a model, if there is one."""
    return self._state.by_fingerprint.get(fingerprint or '')

  def poll(self) -> bool:
    """Looks for a version exported meanwhile; returns whether there is one.

    One that was refused is tried again every minute.

    Raises:
      InputError: if it cannot be served, the others still are; once, until the
        reason is another.
    """
    stamp, refusal = _NO_STAMP, self._refusal
    try:
      stamp = self._read_stamp()
      if refusal and refusal.stamp == stamp:
        if self._clock() < refusal.retry_at:
          return False
      if stamp != self._stamp:
        self._load(stamp)
        return True
    except Exception as error:  # Once, whatever it is.
      retry_at = self._clock() + _RETRY_SECONDS
      self._refusal = _Refusal(stamp, str(error), retry_at)
      if refusal and refusal[:2] == self._refusal[:2]:
        return False
      raise
    self._refusal = None
    return False

  def _read_stamp(self) -> tuple[int, int]:
    path = directory.pointer_path(self._root)
    try:
      status = os.stat(path)
    except OSError:
      directory.current(self._root)  # Says what is wrong.
      raise
    return status.st_ino, status.st_mtime_ns

  def _load(self, stamp: tuple[int, int]) -> None:
    newest = directory.current(self._root)
    loaded = {newest: self._open(newest)}
    for version in directory.versions(self._root):
      if version == newest:
        continue
      try:
        loaded[version] = self._open(version)
      except errors.InputError as error:
        _LOGGER.warning('an older version is left out: %s', error)
    self._loaded = loaded
    self._programs = {
        key: self._programs[key]
        for key in (_program_key(kept.bundle) for kept in loaded.values())
    }
    ordered = sorted(loaded, key=int)
    by_fingerprint = {
        loaded[version].bundle.manifest.fingerprint: loaded[version]
        for version in [*ordered, newest]
    }
    self._state = _State(loaded[newest], by_fingerprint)
    self._stamp = stamp
    self._refusal = None
    _LOGGER.info('%s: serves version %s', self._root, newest)

  def _open(self, version: str) -> Loaded:
    known = self._loaded.get(version)
    # A bundle may have been deleted, and made anew from the first version on.
    if known and known.bundle.manifest == directory.read_manifest(
        self._root, version
    ):
      return known
    bundle = reading.open_bundle(self._root, version)
    program = self._programs.setdefault(
        _program_key(bundle), runner_lib.compiled(bundle.program)
    )
    runner = runner_lib.Runner(bundle, program, self._max_entities)
    runner.warm_up()
    return Loaded(bundle, runner)


def _program_key(bundle: reading.Bundle) -> str:
  return bundle.manifest.checksums[directory.PROGRAM]

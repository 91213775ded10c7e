"""Back end: what a database must do to keep snapshots; NumPy and bytes only.

`snapshot` and `lookup` are written against it, `address` chooses one. All
methods raise InputError, with what to do, for whatever goes wrong.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import NamedTuple
from typing import Protocol

import numpy as np

from limaml_jax.store import checksum as checksum_lib
from limaml_jax.store import manifest as manifest_lib


class Written(NamedTuple):
  """What a writer holds when it is about to finish.

  Attributes:
    version: that it will be.
    count: of records.
    checksum: see `checksum.Checksum`.
    data_checksum: of the file, or ''.
  """

  version: str
  count: int
  checksum: str
  data_checksum: str


class Writer(Protocol):
  """A snapshot in the making, which nobody reads."""

  def put(self, keys: list[bytes], records: np.ndarray) -> None:
    """Adds records.

    Where the snapshot began as a copy of another, a record replaces that of
    the same key; otherwise a key that is there already is refused.

    Args:
      keys: ascending, [N].
      records: [N].
    """
    ...

  def remove(self, keys: Iterable[bytes]) -> None:
    """Removes records; a key that is not there is passed over."""
    ...

  def finish(
      self, describe: Callable[[Written], manifest_lib.Manifest]
  ) -> manifest_lib.Manifest:
    """Makes it a version, durably and all at once; not published yet."""
    ...


class Snapshot(Protocol):
  """A finished snapshot, open."""

  manifest: manifest_lib.Manifest

  def scan(self) -> Iterator[checksum_lib.Block]:
    """Yields keys and records of all entities, in ascending order of keys."""
    ...


class Found(NamedTuple):
  """Records of n entities, all of one snapshot.

  Attributes:
    manifest: of the snapshot.
    default: its default embedding, float32 [E].
    present: who has a record, [n] bool.
    records: [n]; of the others arbitrary.
  """

  manifest: manifest_lib.Manifest
  default: np.ndarray
  present: np.ndarray
  records: np.ndarray


class Follower(Protocol):
  """Reads whichever snapshot is published; threads may share it."""

  def read(self, keys: Sequence[str]) -> Found:
    """Reads from the snapshot that is published at this moment."""
    ...

  def keys(self, prefix: str, limit: int) -> list[str]:
    """Returns the first keys, ascending, that begin with `prefix`.

    None at all where the back end keeps them in no order.
    """
    ...

  def close(self) -> None:
    """Lets go of everything."""
    ...


class Backend(Protocol):
  """Where the snapshots of all entity types are kept.

  Attributes:
    address: for people, without any password.
  """

  address: str

  def versions(self, entity_type: str) -> list[str]:
    """Returns all finished versions, published or not, ascending."""
    ...

  def published(self, entity_type: str) -> list[str]:
    """Returns versions that were published and not rolled back, ascending.

    The one that is published now is among them.
    """
    ...

  def current(self, entity_type: str) -> str:
    """Returns the published version."""
    ...

  def manifest(
      self, entity_type: str, version: str
  ) -> manifest_lib.Manifest:
    """Returns the manifest of a finished version."""
    ...

  def new_snapshot(
      self, entity_type: str, base: str | None = None
  ) -> contextlib.AbstractContextManager[Writer]:
    """Begins a snapshot, which is gone unless it is finished.

    Args:
      entity_type: whose.
      base: version whose records it begins with.
    """
    ...

  def open_snapshot(
      self, entity_type: str, version: str
  ) -> contextlib.AbstractContextManager[Snapshot]:
    """Opens a finished version, published or not, once it is found whole."""
    ...

  def publish(
      self,
      entity_type: str,
      version: str,
      *,
      expected: str | None = None,
      leave: str | None = None,
  ) -> None:
    """Makes a version the published one, durably and all at once.

    Args:
      entity_type: whose.
      version: that the next read finds.
      expected: the version that is published now, '' for none. Nothing changes
        if it is another; None takes any.
      leave: the same, where that version is rolled back, and forgotten.
    """
    ...

  def delete(self, entity_type: str, version: str) -> None:
    """Deletes a version; the published one is refused."""
    ...

  def follow(self, entity_type: str) -> Follower:
    """Opens the published snapshot, and those that will follow it."""
    ...

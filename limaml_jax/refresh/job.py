"""The daily job: select, adapt, write, judge, publish.

Idempotent for a cutoff, and resumable: whoever is killed is run again and ends
with the same snapshot to the bit. What is published stays until the very end.
Of several processes the first one runs it and the others assist, to the same
bits.
"""

import contextlib
import enum
import hashlib
import json
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from limaml_jax import cluster
from limaml_jax import errors
from limaml_jax.refresh import crew
from limaml_jax.refresh import evidence
from limaml_jax.refresh import gate as gate_lib
from limaml_jax.refresh import quality
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.refresh import selection
from limaml_jax.refresh import staging as staging_lib
from limaml_jax.refresh import writing
from limaml_jax.store import manifest as manifest_lib
from limaml_jax.store import snapshot

VERDICT_FILE = 'gate.json'
_STAGING_DIR = 'staging'
_CLOCK_TOLERANCE_SECONDS = 60


class Result(enum.Enum):
  """How a refresh ended."""

  PUBLISHED = 'published'
  ALREADY_PUBLISHED = 'already published'
  REFUSED = 'refused'
  FORCED = 'published by force'


class Outcome(NamedTuple):
  """What a refresh did.

  Attributes:
    result: how it ended.
    manifest: of the snapshot.
    verdict: of the gate; None if nothing was judged.
    num_adapted: entities.
    num_carried_over: entities.
    why_full: why nothing was carried over, '' if something could be.
  """

  result: Result
  manifest: manifest_lib.Manifest
  verdict: gate_lib.Verdict | None = None
  num_adapted: int = 0
  num_carried_over: int = 0
  why_full: str = ''


class Settings(NamedTuple):
  """What is asked of a refresh.

  Attributes:
    cutoff: UTC seconds; only earlier events are used.
    full: adapts every entity, whether it has new events or not.
    force: publishes what the gate refuses.
    gate: bounds of the gate.
  """

  cutoff: int
  full: bool = False
  force: bool = False
  gate: gate_lib.GateConfig = gate_lib.GateConfig()


def run(
    refresher: refresher_lib.Refresher,
    settings: Settings,
    *,
    directory: pathlib.Path,
    names: tuple[str, ...],
    score: quality.ScoreFn,
    now: int,
    on_progress: crew.Progress = lambda stage, done, total: None,
) -> Outcome:
  """Refreshes the store to a cutoff; in the first process of a job.

  Args:
    refresher: the trained model, its data and its store.
    settings: of this refresh.
    directory: for what is not finished, and for the gate's verdict.
    names: raw features that `score` reads.
    score: the global block, for the gate.
    now: UTC seconds by the clock.
    on_progress: told of each step, for people who wait.

  Raises:
    InputError: for a cutoff in the future or before that of the published
      snapshot, or whatever the store refuses. What was published stays.
  """
  with cluster.telling_errors():
    outcome = _run(
        refresher, settings, directory, names, score, now, on_progress
    )
    crew.dismiss(outcome.result.value)
  return outcome


def assist(
    refresher: refresher_lib.Refresher, *, directory: pathlib.Path
) -> Result:
  """Adapts a share of the entities, in every process but the first.

  Args:
    refresher: as in the first process; its store is not opened.
    directory: the same folder as in the first process.

  Returns:
    How the refresh ended.

  Raises:
    InputError: for what this process or the first one was given.
  """
  return Result(crew.assist(refresher, directory / _STAGING_DIR))


def _run(
    refresher, settings, directory, names, score, now, on_progress
) -> Outcome:
  cutoff = settings.cutoff
  _refuse_future(cutoff, now)
  manifest = selection.published(refresher)
  past = refresher.hash_past()
  if manifest and not settings.full:
    if selection.is_same(manifest, refresher, past, cutoff):
      return Outcome(Result.ALREADY_PUBLISHED, manifest)
  base = selection.find_base(refresher, past, cutoff, full=settings.full)
  plan = refresher.plan(cutoff, _chooser(refresher, base))
  num_adapted = sum(part.entities.size for part in plan.parts)
  facts = selection.describe(refresher, past, cutoff)
  generator = _describe(refresher, cutoff, base, num_adapted, facts)
  with staging_lib.open_job(
      directory / _STAGING_DIR, generator['job'], now=now
  ) as staging:
    manifest = _find_written(
        refresher, generator, directory, force=settings.force
    ) or writing.write(
        refresher,
        cutoff,
        base,
        plan,
        generator=generator,
        staging=staging,
        on_progress=on_progress,
    )
    on_progress('gate', 0, 1)
    verdict = evidence.judge(
        refresher,
        manifest,
        base.previous,
        config=settings.gate,
        names=names,
        score=score,
    )
    on_progress('gate', 1, 1)
    _keep_verdict(directory, manifest, verdict)
    result = _publish(
        refresher, manifest, verdict, base.previous, force=settings.force
    )
    staging.clear()
  return Outcome(
      result,
      manifest,
      verdict,
      num_adapted=num_adapted,
      num_carried_over=manifest.count - num_adapted,
      why_full=base.why_full,
  )


def _refuse_future(cutoff: int, now: int) -> None:
  if cutoff > now + _CLOCK_TOLERANCE_SECONDS:
    raise errors.InputError(
        f'--cutoff: is {cutoff - now} s ahead of the clock of this machine;'
        ' events before it may still come: wait, or set the clock'
    )


def _chooser(refresher, base):
  """Returns who is adapted, given the watermarks of all entities."""
  keys = refresher.table.entity_keys

  def choose(watermarks):
    if base.carried is None:
      return np.arange(len(keys))
    return selection.changed(base.carried, keys, watermarks)

  return choose


def _describe(
    refresher, cutoff, base, num_adapted, facts
) -> dict[str, Any]:
  """Returns the manifest's generator: all that decides the snapshot."""
  followed = base.carried.manifest if base.carried else None
  facts |= {
      'mode': 'incremental' if followed else 'full',
      'base': followed.version if followed else '',
      'adapted': num_adapted,
  }
  decided = [
      facts,
      cutoff,
      refresher.dtype,
      jax.default_backend(),
      jax.local_device_count(),  # Whatever the number of processes.
      followed.checksum if followed else '',
  ]
  text = json.dumps(decided, sort_keys=True)
  return facts | {'job': hashlib.sha256(text.encode()).hexdigest()[:16]}


def _find_written(refresher, generator, directory, *, force):
  """Returns a whole snapshot that this very job wrote before.

  One that the gate refused is made again, unless it is to be forced.
  """
  store, entity_type = refresher.store, refresher.info.entity_type
  refused = '' if force else _last_refused(directory)
  for version in reversed(store.versions(entity_type)):
    with contextlib.suppress(errors.InputError):  # Torn, or just pruned.
      manifest = store.manifest(entity_type, version)
      ours = manifest.generator.get('job') == generator['job']
      if ours and version != refused:
        return snapshot.verify(store, entity_type, version)
  return None


def _last_refused(directory):
  """Returns the version that the gate refused last, '' if it did not."""
  with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
    verdict = json.loads((directory / VERDICT_FILE).read_text())
    if not verdict['passed']:
      return verdict['version']
  return ''


def _keep_verdict(directory, manifest, verdict):
  text = verdict.to_json(
      version=manifest.version,
      entity_type=manifest.entity_type,
      cutoff=manifest.cutoff,
  )
  path = directory / VERDICT_FILE
  temporary = path.with_suffix('.tmp')
  try:
    temporary.write_text(text)
    temporary.replace(path)
  except OSError as error:
    raise errors.InputError(
        f'{path}: cannot be written ({error.strerror}); make room, and run'
        f' again: snapshot {manifest.version} is written'
    ) from error


def _publish(refresher, manifest, verdict, previous, *, force):
  if not (verdict.passed or force):
    return Result.REFUSED  # Kept, for people to look at.
  # What the gate has read was whole. What it was compared with, and carried
  # over from, must still be what is served.
  refresher.store.publish(
      refresher.info.entity_type,
      manifest.version,
      expected=previous.manifest.version if previous else '',
  )
  return Result.PUBLISHED if verdict.passed else Result.FORCED

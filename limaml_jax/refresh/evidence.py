"""Evidence: gathers what the gate judges a snapshot by."""

import numpy as np

from limaml_jax.data import episodes
from limaml_jax.evaluation import cohorts as cohorts_lib
from limaml_jax.refresh import distributions
from limaml_jax.refresh import gate as gate_lib
from limaml_jax.refresh import quality
from limaml_jax.refresh import refresher as refresher_lib
from limaml_jax.store import contents as contents_lib
from limaml_jax.store import manifest as manifest_lib


def judge(
    refresher: refresher_lib.Refresher,
    manifest: manifest_lib.Manifest,
    previous: contents_lib.Contents | None,
    *,
    config: gate_lib.GateConfig,
    names: tuple[str, ...],
    score: quality.ScoreFn,
) -> gate_lib.Verdict:
  """Reads a snapshot as it will be served, and judges it.

  Args:
    refresher: that made it.
    manifest: of it.
    previous: the published snapshot, if there is one.
    config: bounds of the gate.
    names: raw features that `score` reads.
    score: the global block.
  """
  entity_type = refresher.info.entity_type
  contents = contents_lib.load(refresher.store, entity_type, manifest.version)
  comparable = previous
  start = int(manifest.cutoff - config.window_hours * 3600)
  if previous is not None:
    before = previous.manifest
    if before.fingerprint != manifest.fingerprint or (
        before.cutoff >= manifest.cutoff
    ):
      comparable = None
    else:
      # Later than half of the new events, which what is judged builds on.
      start = max(start, (before.cutoff + manifest.cutoff) // 2)
  rows = quality.window_rows(
      refresher,
      start,
      manifest.cutoff,
      max_entities=config.max_entities,
  )
  scored = quality.score_window(
      refresher,
      rows,
      start,
      contents=contents,
      previous=comparable,
      names=names,
      score=score,
  )
  return gate_lib.judge(
      contents,
      expected=len(refresher.table.entity_keys),
      previous=previous,
      cohorts=_cohorts(refresher, contents, previous),
      scored=scored,
      config=config,
  )


def _cohorts(refresher, contents, previous):
  """Sorts the entities of both snapshots by their events at its cutoff."""
  table = refresher.table
  entities = np.arange(len(table.entity_keys))

  def indices(one):
    if one is None:
      return np.zeros(0, np.int64)
    sizes = episodes.support_sizes(table, entities, one.manifest.cutoff)
    place = one.find(table.entity_keys)
    known = place >= 0
    found = np.full(one.keys.size, -1)
    found[place[known]] = cohorts_lib.cohort_indices(sizes[known])
    return found

  return distributions.Cohorts(
      cohorts_lib.COHORTS, indices(contents), indices(previous)
  )

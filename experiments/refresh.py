r"""Refreshes the store: adapts entities to their events before a cutoff.

    python -m experiments.refresh --data=runs/ml100k/tasks \
        --workdir=runs/ml100k/limaml --store=lmdb:runs/ml100k/store \
        --cutoff=1998-04-20T00:00:00+00:00

Entities without new events since the published snapshot are carried over. The
new snapshot is judged before it is published. Run again after whatever
happened: the same cutoff ends in the same snapshot. Several processes that
share --data and --workdir divide the entities (docs/refresh.md). Exit status: 0
published, or published already; 3 refused by the gate; 1 an error; 75 another
process was lost: start them again.
"""

import pathlib
import sys
import time

from absl import flags
from absl import logging

from experiments import multihost
from experiments import pipeline
from experiments import progress
from experiments import times
from limaml_jax import cluster
from limaml_jax.refresh import gate as gate_lib
from limaml_jax.refresh import job
from limaml_jax.store import address
from limaml_jax.store import vector_dtypes

flags.adopt_module_key_flags(multihost)

_REFUSED = 3
_DEFAULTS = gate_lib.GateConfig()

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset that `prepare` made.', required=True
)
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Of the training run.', required=True
)
_STORE = flags.DEFINE_string(
    'store',
    None,
    f'Where snapshots are kept: {address.EXPECTED}. WORKDIR/store when left '
    'out.',
)
_CUTOFF = flags.DEFINE_string(
    'cutoff',
    None,
    'ISO time with zone; only earlier events are used. All events of the '
    'dataset when left out.',
)
_FULL = flags.DEFINE_boolean(
    'full', False, 'Adapt every entity, whether it has new events or not.'
)
_FORCE = flags.DEFINE_boolean(
    'force', False, 'Publish even what the gate refuses.'
)
_DTYPE = flags.DEFINE_enum(
    'dtype', 'float16', vector_dtypes.DTYPES, 'That vectors are stored in.'
)
_MAX_MISSING = flags.DEFINE_float(
    'max_missing_fraction',
    _DEFAULTS.max_missing_fraction,
    'Gate: of the entities, that may be without a vector.',
)
_MAX_NORM_RATIO = flags.DEFINE_float(
    'max_norm_ratio',
    _DEFAULTS.max_norm_ratio,
    'Gate: of the norms to those of the published snapshot, either way.',
)
_MAX_DRIFT = flags.DEFINE_float(
    'max_drift',
    _DEFAULTS.max_drift,
    'Gate: distance of a cohort from what it was, in standard deviations.',
)
_MAX_QUALITY_LOSS = flags.DEFINE_float(
    'max_quality_loss',
    _DEFAULTS.max_quality_loss,
    'Gate: of ROC-AUC against the published snapshot, as served.',
)
_WINDOW_HOURS = flags.DEFINE_float(
    'window_hours',
    _DEFAULTS.window_hours,
    'Gate: before the cutoff, whose events are scored; never more than half '
    'the time since the published snapshot.',
)


def main() -> None:
  """Refreshes to --cutoff."""
  data = pipeline.load(_DATA.value)
  workdir = pathlib.Path(_WORKDIR.value)
  store = _STORE.value or str(workdir / pipeline.STORE_DIR)
  cutoff = data.info.test_end
  if _CUTOFF.value:
    cutoff = times.parse('cutoff', _CUTOFF.value)
  settings = job.Settings(cutoff, _FULL.value, _FORCE.value, _gate())
  served = pipeline.restore(data, workdir, store=store, dtype=_DTYPE.value)
  directory = workdir / pipeline.REFRESH_DIR / data.info.entity_type
  if cluster.is_first():
    result = _lead(data, served, settings, directory)
  else:
    result = job.assist(served.refresher, directory=directory)
  if result is job.Result.REFUSED:
    sys.exit(_REFUSED)


def _lead(
    data: pipeline.Dataset,
    served: pipeline.Served,
    settings: job.Settings,
    directory: pathlib.Path,
) -> job.Result:
  """Runs the job, and says what came of it."""
  with progress.stages('refresh') as update:
    outcome = job.run(
        served.refresher,
        settings,
        directory=directory,
        names=served.assembly.names.regular,
        score=pipeline.score_fn(data, served),
        now=int(time.time()),
        on_progress=update,
    )
  _report(outcome, served.refresher.store.address, directory)
  return outcome.result


def _gate() -> gate_lib.GateConfig:
  return gate_lib.GateConfig(
      max_missing_fraction=_MAX_MISSING.value,
      max_norm_ratio=_MAX_NORM_RATIO.value,
      max_drift=_MAX_DRIFT.value,
      max_quality_loss=_MAX_QUALITY_LOSS.value,
      window_hours=_WINDOW_HOURS.value,
  )


def _report(
    outcome: job.Outcome, where: str, directory: pathlib.Path
) -> None:
  """Says what happened, in a line for each fact."""
  manifest = outcome.manifest
  if outcome.verdict:
    why = f' ({outcome.why_full})' if outcome.why_full else ''
    print(
        f'adapted {outcome.num_adapted:,} {manifest.entity_type}s, carried over'
        f' {outcome.num_carried_over:,}{why}'
    )
    for check in outcome.verdict.checks:
      word = {True: 'pass', False: 'FAIL', None: 'skip'}[check.passed]
      print(f'gate: {word} {check.name}: {check.reason}')
  print(
      f'{where}: snapshot {manifest.version} {outcome.result.value}:'
      f' {manifest.count:,} {manifest.entity_type}s, {manifest.dimension} x'
      f' {manifest.dtype}, model {manifest.fingerprint}, events before'
      f' {times.show(manifest.cutoff)}'
  )
  verdict = directory / job.VERDICT_FILE
  if outcome.result is job.Result.REFUSED:
    print(
        f'refused by the gate, see {verdict}; the former snapshot is served on.'
        ' Look at the version, mend what made it, and run again; or pass'
        ' --force',
        file=sys.stderr,
    )
  elif outcome.result is job.Result.FORCED and outcome.verdict:
    failed = ', '.join(check.name for check in outcome.verdict.failures)
    logging.warning(
        'PUBLISHED BY FORCE, although the gate refused it (%s): see %s; to go'
        ' back: python -m experiments.store rollback',
        failed, verdict,
    )  # fmt: skip


if __name__ == '__main__':
  multihost.run(main, notes_sigterm=False)

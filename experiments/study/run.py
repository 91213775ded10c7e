"""Run: one row of a study's tables, and what came of it."""

from collections.abc import Mapping
import hashlib
import json
import types
from typing import Any
from typing import NamedTuple

from experiments import variants
from limaml_jax.evaluation import scores as scores_lib

# Scores drawn at random: the control that every study carries.
RANDOM = 'random'

_NOTHING: Mapping[str, Any] = types.MappingProxyType({})


class Run(NamedTuple):
  """What is trained and scored, once for each seed.

  Attributes:
    label: names it in tables; unique within a study.
    variant: one of `variants.TRAINED`, `unadapted`, `random`, a baseline that
      counts, or a name of `experiments.baselines.registry`.
    settings: on top of the configuration, by dotted name; those of the data
      and the protocol among them.
    roles: of features whose role is not that of the schema, by name.
    scorer: how it is scored, a name of `scorers.SCORERS`.
    options: of that scorer; they do not touch training.
    may_equal: whether its scores may be those of another run, as with a cap
      that nothing reaches.
    embeddings_of: a run of another type of entities, trained first under the
      same seed: its embeddings are features of this run's items.
  """

  label: str
  variant: str = variants.LIMAML
  settings: Mapping[str, Any] = _NOTHING
  roles: Mapping[str, str] = _NOTHING
  scorer: str = 'served'
  options: Mapping[str, Any] = _NOTHING
  may_equal: bool = False
  embeddings_of: 'Run | None' = None


class Outcome(NamedTuple):
  """What came of a run under one seed.

  Attributes:
    run: that was asked for.
    seed: of training.
    key: of its scores; runs of the same key are the same.
    scores: rows in the order of the protocol; None if it failed.
    facts: numbers that are no scores, such as `train_seconds`; None where one
      is not known.
    reason: why it failed, '' if it did not.
  """

  run: Run
  seed: int
  key: str
  scores: scores_lib.Scores | None
  facts: Mapping[str, float | None]
  reason: str = ''


def digest(*parts: Any) -> str:
  """Returns a short name for whatever JSON can spell."""
  text = json.dumps(parts, sort_keys=True, default=dict)
  return hashlib.sha256(text.encode()).hexdigest()[:16]

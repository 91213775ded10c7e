"""Request: what every baseline is given."""

from collections.abc import Callable
import pathlib
from typing import NamedTuple

from experiments import pipeline
from limaml_jax import config as config_lib


class Request(NamedTuple):
  """Asks for the scores of the test rows; a baseline reads what it needs.

  Attributes:
    data: prepared dataset.
    config: of the variant that `registry.VARIANTS` names.
    seed: of what is random.
    workdir: receives networks, in a folder named for variant and seed.
    on_progress: told how many steps, fits or refreshes of how many are done.
  """

  data: pipeline.Dataset
  config: config_lib.Config
  seed: int
  workdir: pathlib.Path
  on_progress: Callable[[int, int], None] = lambda done, total: None

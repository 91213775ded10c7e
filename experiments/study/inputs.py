"""Inputs of a run: its settings and its dataset, and what that is made of."""

import pathlib
from typing import NamedTuple

from experiments import pipeline
from experiments import progress
from experiments.study import datasets as datasets_lib
from experiments.study import run as run_lib
from experiments.study import settings as settings_lib
from experiments.study import training
from limaml_jax import config as config_lib


class Inputs(NamedTuple):
  """What the inputs of all runs of a study come from.

  Attributes:
    settings: shared by all.
    datasets: prepared so far.
    workdir: of all studies.
  """

  settings: settings_lib.Settings
  datasets: datasets_lib.Datasets
  workdir: pathlib.Path

  def make(
      self, run: run_lib.Run, seed: int
  ) -> tuple[config_lib.Config, pipeline.Dataset]:
    """Returns settings and dataset; trains first what the dataset is made of.

    Args:
      run: of the study.
      seed: of training.

    Raises:
      InputError: for a setting that does not exist, or a dataset that is not
        prepared and cannot be.
    """
    config = self.settings.resolve(run, seed)
    if run.embeddings_of is None:
      return config, self.datasets.get(config, run.roles)
    other, data = self.make(run.embeddings_of, seed)
    label = run.embeddings_of.label
    with progress.bar(f'embeddings of {label}, seed {seed}') as update:
      run_dir, _ = training.train(other, data, self.workdir, update)
    features = datasets_lib.Features(data, run_dir)
    return config, self.datasets.get(config, run.roles, features)

"""Where a bundle lies: opens it in this process as its server would."""

from collections.abc import Callable
import dataclasses
import json
import logging
import pathlib
import time

import prometheus_client

from limaml_jax import errors
from limaml_jax.serving import metrics
from limaml_jax.serving import service as service_lib
from limaml_jax.serving import settings as settings_lib

_SETTINGS = 'model-settings.json'


def read_settings(
    root: pathlib.Path, store: str | None = None
) -> settings_lib.Settings:
  """Returns the settings of a bundle's server.

  Args:
    root: folder of the bundle.
    store: address of another feature store than its own.

  Raises:
    InputError: if there are none.
  """
  path = root / _SETTINGS
  try:
    fields = json.loads(path.read_text(encoding='utf-8'))
    extra = fields['parameters']['extra']
  except (OSError, ValueError) as error:
    raise errors.InputError(
        f'{path}: no settings of a bundle are here ({error}); make one with'
        ' `python -m experiments.export`'
    ) from error
  except (KeyError, TypeError) as error:
    raise errors.InputError(
        f'{path}: parameters.extra is missing; set its store, the address of'
        ' the feature store'
    ) from error
  if store is not None:
    extra = {**extra, 'store': store}
  return settings_lib.parse(extra, str(path))


def open_service(
    root: pathlib.Path,
    settings: settings_lib.Settings,
    *,
    max_rows: int,
    clock: Callable[[], float] = time.time,
) -> service_lib.Service:
  """Opens a bundle and its store.

  Args:
    root: folder of the bundle.
    settings: of its server.
    max_rows: of a request; it may have as many entities.
    clock: tells the time that ages count to, UTC seconds.

  Raises:
    InputError: if the bundle cannot be served.
  """
  settings = dataclasses.replace(
      settings, max_entities=max_rows, max_candidates=max_rows
  )
  # Versions and their loading are news to operators alone.
  logging.getLogger('limaml_jax.serving').setLevel(logging.WARNING)
  registry = prometheus_client.CollectorRegistry()  # Shown to nobody.
  return service_lib.Service(
      root, settings, metrics.Metrics(registry), clock=clock
  )

"""Runtime: a bundle as a model of MLServer."""

import asyncio
import contextlib
import gc
import logging
import pathlib

import jax
import mlserver
from mlserver import types as mlserver_types
from mlserver import utils as mlserver_utils

from limaml_jax import errors
from limaml_jax.serving import explorer as explorer_lib
from limaml_jax.serving import metrics as metrics_lib
from limaml_jax.serving import service as service_lib
from limaml_jax.serving import settings as settings_lib
from limaml_jax.serving.open_inference import explore
from limaml_jax.serving.open_inference import tensors

_LOGGER = logging.getLogger(__name__)


class Runtime(explore.Explorable, mlserver.MLModel):
  """What `mlserver start BUNDLE` runs."""

  service: service_lib.Service

  def __init__(self, settings: mlserver.ModelSettings):
    """Opens nothing yet; see `MLModel`."""
    super().__init__(settings)
    self._opened = contextlib.ExitStack()

  async def load(self) -> bool:
    """Opens and compiles the bundle; see `MLModel`.

    Raises:
      SystemExit: if it cannot be served; says why in one line. MLServer would
        end, too, but as if all were well.
    """
    try:
      await self._load()
    except errors.InputError as error:
      raise SystemExit(f'error: {error}') from error
    return True

  async def _load(self) -> None:
    # One request at a time is computed: to hand it to another thread is slow.
    jax.config.update('jax_cpu_enable_async_dispatch', False)
    root = pathlib.Path(await mlserver_utils.get_model_uri(self.settings))
    parameters = self.settings.parameters
    extra = parameters.extra if parameters else None
    settings = settings_lib.parse(
        extra or {}, str(root / 'model-settings.json')
    )
    self._metrics = metrics_lib.of_process()
    self.service = await asyncio.to_thread(
        service_lib.Service, root, settings, self._metrics
    )
    self._opened.callback(self.service.close)
    if settings.explore:
      self.explorer = explorer_lib.Explorer(self.service)
    self._describe()
    # A full collection walks over what jax has made: 60 ms in some request.
    gc.collect()
    gc.freeze()
    watcher = asyncio.create_task(self._watch())
    self._opened.callback(watcher.cancel)

  async def unload(self) -> bool:
    """Lets go of everything; see `MLModel`."""
    self._opened.close()
    return True

  async def metadata(self) -> mlserver_types.MetadataModelResponse:
    """Returns inputs, outputs and fingerprint; see `MLModel`."""
    response = await super().metadata()
    manifest = self.service.versions.current.bundle.manifest
    response.parameters = mlserver_types.Parameters(
        fingerprint=manifest.fingerprint,
        bundle_version=manifest.version,
        entity_type=manifest.entity_type,
        expires=manifest.expires,
    )
    return response

  async def score(
      self, given: list[tensors.Tensor]
  ) -> tuple[service_lib.Scored, list[tensors.Output]]:
    """Scores the tensors of a request, whichever way it came.

    Raises:
      InputError: names the tensor.
    """
    request, shape = tensors.to_request(given, self.service.settings)
    scored = await self.service.score(request)
    return scored, tensors.from_scored(scored, shape)

  def _describe(self):
    """Takes inputs and outputs from the bundle."""
    manifest = self.service.versions.current.bundle.manifest
    inputs, outputs = tensors.describe(manifest)
    tensor = mlserver_types.MetadataTensor
    self.inputs = [tensor(**fields) for fields in inputs]
    self.outputs = [tensor(**fields) for fields in outputs]

  async def _watch(self):
    """Serves versions that are exported from now on."""
    while True:
      await asyncio.sleep(self.service.settings.poll_seconds)
      try:
        if await asyncio.to_thread(self.service.versions.poll):
          self._describe()
          self._metrics.reloaded('served')
          # What the last version was made of is let go of.
          gc.unfreeze()
          gc.collect()
          gc.freeze()
      except Exception as error:  # pylint: disable=broad-except
        self._metrics.reloaded('refused')
        _LOGGER.error('a new version is not served: %s', error)


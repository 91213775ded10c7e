"""Plane: MLServer's handlers of all protocols, as a bundle needs them."""

from collections.abc import AsyncIterator
import contextlib

from mlserver import errors as mlserver_errors
from mlserver.handlers import DataPlane

from limaml_jax.serving.open_inference import runtime


class Plane(DataPlane):
  """Serves bundles alone, and counts no request of a model there is not."""

  async def ready(self) -> bool:
    """Says whether there is a model, and all are loaded."""
    models = list(await self._model_registry.get_models())
    return bool(models) and all(model.ready for model in models)

  @contextlib.asynccontextmanager
  async def scoring(
      self, name: str, version: str | None
  ) -> AsyncIterator[runtime.Runtime]:
    """Hands over a model for the time of one request.

    Args:
      name: of the model.
      version: of its settings; None or '' for any.

    Raises:
      MLServerError: if there is no such model, or it is not loaded yet.
    """
    # First, lest MLServer's metrics grow with each name that anybody makes up.
    model = await self._model_registry.get_model(name, version)
    if not isinstance(model, runtime.Runtime):
      raise mlserver_errors.ModelNotFound(name, version)
    async with self._infer_contextmanager(name, version or None):
      yield model

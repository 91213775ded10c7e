"""Repository: where MLServer finds the bundle, and first meets this library."""

from typing import Any

from mlserver.repository import repository

from limaml_jax.serving.open_inference import access as access_lib
from limaml_jax.serving.open_inference import servers


class Repository(repository.SchemalessModelRepository):
  """Named by a bundle's settings.json, with who is let in as arguments."""

  def __init__(self, root: str, **options: Any):
    """Reads the arguments, and has MLServer's servers guarded.

    Args:
      root: folder of the bundle.
      **options: see `access.read`.
    """
    super().__init__(root)
    servers.install(access_lib.parse(options))

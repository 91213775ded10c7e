"""Servicer: what each call over gRPC does.

Errors are raised; the interceptor tells the client.
"""

import grpc
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import servicers

from limaml_jax.serving.open_inference import plane as plane_lib
from limaml_jax.serving.open_inference import runtime
from limaml_jax.serving.open_inference import tensors
from limaml_jax.serving.open_inference import wire

NO_LOADING = (
    'repository: models are not loaded or unloaded by clients; export a'
    ' version, which the server picks up'
)


class Servicer(servicers.InferenceServicer):
  """Scores by the shortest way; the rest as MLServer does, or not at all."""

  _data_plane: plane_lib.Plane  # pyrefly: ignore

  async def ModelInfer(  # noqa: N802
      self, request: pb.ModelInferRequest, context: grpc.aio.ServicerContext
  ) -> pb.ModelInferResponse:
    """As the protocol has it."""
    del context
    async with self._data_plane.scoring(
        request.model_name, request.model_version
    ) as model:
      return await _score(model, request)

  async def ModelMetadata(  # noqa: N802
      self, request: pb.ModelMetadataRequest, context: grpc.aio.ServicerContext
  ) -> pb.ModelMetadataResponse:
    """As the protocol has it."""
    del context
    metadata = await self._data_plane.model_metadata(
        request.name, request.version
    )
    return servicers.ModelMetadataResponseConverter.from_types(metadata)

  async def RepositoryModelLoad(self, request, context):  # noqa: N802
    """Refuses."""
    del request
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, NO_LOADING)

  RepositoryModelUnload = RepositoryModelLoad


async def _score(
    model: runtime.Runtime, request: pb.ModelInferRequest
) -> pb.ModelInferResponse:
  request_id = tensors.checked_id(request.id)
  scored, outputs = await model.score(wire.to_tensors(request))
  names = [output.name for output in request.outputs]
  response = wire.from_outputs(
      tensors.select(outputs, names or None),
      raw=bool(request.raw_input_contents),
  )
  response.model_name = model.name
  response.id = request_id
  response.parameters['fingerprint'].string_param = scored.fingerprint
  response.parameters['bundle_version'].string_param = scored.version
  return response

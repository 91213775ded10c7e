"""Servers: MLServer's REST and gRPC servers, guarded.

MLServer has no settings for a token, for TLS or for the size of a body, and
its gRPC server takes any error in a request for its own. Its own classes stay
as they are; `install` has it make these instead.
"""

import concurrent.futures
import functools
import pathlib

import grpc
from grpc import aio
from mlserver import errors as mlserver_errors
from mlserver import server as mlserver_server
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import dataplane_pb2_grpc
from mlserver.grpc import interceptors
from mlserver.grpc import model_repository
from mlserver.grpc import model_repository_pb2_grpc
from mlserver.grpc import servicers
from mlserver.grpc.server import GRPCServer
from mlserver.rest.server import RESTServer
import uvicorn

from limaml_jax import errors
from limaml_jax.serving.open_inference import access as access_lib
from limaml_jax.serving.open_inference import guard
from limaml_jax.serving.open_inference import runtime
from limaml_jax.serving.open_inference import wire

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_HEALTH = ('/inference.GRPCInferenceService/Server',)


def install(access: access_lib.Access) -> None:
  """Has MLServer make the servers below, from now on in this process."""
  made = {
      'RESTServer': functools.partial(_Rest, access=access),
      'GRPCServer': functools.partial(_Grpc, access=access),
  }
  for name, server in made.items():
    setattr(mlserver_server, name, server)


class _Rest(RESTServer):
  """REST behind a guard, over TLS if there is a certificate."""

  def __init__(self, *args, access: access_lib.Access):
    super().__init__(*args)
    self._access = access
    behind_guard = functools.partial(guard.Guard, access=access)
    self._app.add_middleware(behind_guard)  # pyrefly: ignore

  def _get_config(self) -> uvicorn.Config:
    config = super()._get_config()
    config.ssl_certfile = self._access.tls_certificate or None
    config.ssl_keyfile = self._access.tls_key or None
    return config


class _Grpc(GRPCServer):
  """gRPC that scores by the shortest way."""

  def __init__(self, *args, access: access_lib.Access):
    super().__init__(*args)
    self._access = access
    if self._settings.grpc_max_message_length is None:
      self._settings.grpc_max_message_length = access.max_body_bytes

  def _create_server(self) -> aio.Server:
    self._interceptors = [_Token(self._access)]
    if self._settings.debug:
      self._interceptors.append(interceptors.LoggingInterceptor())
    if self._settings.metrics_endpoint:
      self._interceptors.append(
          interceptors.PromServerInterceptor(enable_handling_time_histogram=True)
      )
    self._server = aio.server(
        concurrent.futures.ThreadPoolExecutor(1),
        interceptors=self._interceptors,
        options=self._get_options(),
    )
    dataplane_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
        _Servicer(self._data_plane, self._model_repository_handlers),
        self._server,
    )
    model_repository_pb2_grpc.add_ModelRepositoryServiceServicer_to_server(
        model_repository.ModelRepositoryServicer(
            self._model_repository_handlers
        ),
        self._server,
    )
    address = f'{self._settings.host}:{self._settings.grpc_port}'
    if self._access.tls_certificate:
      self._server.add_secure_port(address, _credentials(self._access))
    else:
      self._server.add_insecure_port(address)
    return self._server


def _credentials(access: access_lib.Access) -> grpc.ServerCredentials:
  read = lambda path: pathlib.Path(path).read_bytes()
  pair = (read(access.tls_key), read(access.tls_certificate))
  return grpc.ssl_server_credentials([pair])


class _Token(aio.ServerInterceptor):
  """Turns away who does not bear the token; health is for everybody."""

  def __init__(self, access: access_lib.Access):
    self._access = access

    async def refuse(request, context):
      del request
      await context.abort(
          grpc.StatusCode.UNAUTHENTICATED,
          'authorization: send "Bearer" and the token',
      )

    self._refuse = grpc.unary_unary_rpc_method_handler(refuse)

  async def intercept_service(self, continuation, handler_call_details):
    """As grpc has it."""
    if self._access.token and not self._is_admitted(handler_call_details):
      return self._refuse
    return await continuation(handler_call_details)

  def _is_admitted(self, details):
    if details.method.startswith(_HEALTH):
      return True
    metadata = dict(details.invocation_metadata or ())
    value = metadata.get('authorization', '')
    return self._access.admits(
        value if isinstance(value, bytes) else value.encode()
    )


class _Servicer(servicers.InferenceServicer):
  """Scores with our runtime by the shortest way; others as ever."""

  async def ModelInfer(  # noqa: N802
      self, request: pb.ModelInferRequest, context: grpc.ServicerContext
  ) -> pb.ModelInferResponse:
    """As the protocol has it."""
    plane = self._data_plane
    try:
      async with plane._infer_contextmanager(
          request.model_name, request.model_version or None
      ) as model:
        if isinstance(model, runtime.Runtime):
          return await _score(model, request)
    except errors.InputError as error:
      await context.abort(_INVALID, str(error))
    except mlserver_errors.ModelNotFound as error:
      await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
    except mlserver_errors.MLServerError as error:
      await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    # Another runtime's model, beside ours.
    return await super().ModelInfer(request, context)  # pyrefly: ignore


async def _score(
    model: runtime.Runtime, request: pb.ModelInferRequest
) -> pb.ModelInferResponse:
  scored, outputs = await model.score(wire.to_tensors(request))
  is_raw = bool(request.raw_input_contents)
  response = wire.from_outputs(outputs, raw=is_raw)
  response.model_name = model.name
  response.id = request.id
  response.parameters['fingerprint'].string_param = scored.fingerprint
  response.parameters['bundle_version'].string_param = scored.version
  return response

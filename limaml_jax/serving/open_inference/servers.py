"""Servers: MLServer's REST and gRPC servers, guarded.

MLServer has no settings for a token, for TLS or for the size of a body, and
takes some errors in a request for its own. Its classes stay as they are;
`install` has it make these instead.
"""

import concurrent.futures
import functools
import logging
import pathlib

from fastapi import exceptions as fastapi_exceptions
import grpc
from grpc import aio
from mlserver import errors as mlserver_errors
from mlserver import server as mlserver_server
from mlserver.grpc import dataplane_pb2_grpc
from mlserver.grpc import interceptors
from mlserver.grpc.server import GRPCServer
from mlserver.rest.server import RESTServer
from starlette import exceptions as starlette_exceptions
from starlette import responses
from starlette import routing
import uvicorn

from limaml_jax import errors
from limaml_jax.serving.open_inference import access as access_lib
from limaml_jax.serving.open_inference import guard
from limaml_jax.serving.open_inference import interceptor
from limaml_jax.serving.open_inference import plane as plane_lib
from limaml_jax.serving.open_inference import rest
from limaml_jax.serving.open_inference import servicer

_MODEL = '/v2/models/{model_name}'
_VERSION = _MODEL + '/versions/{model_version}'
_SCORING = ('/infer', '/generate')
_STREAMING = ('/infer_stream', '/generate_stream')
_LOADING = (
    '/v2/repository/models/{model_name}/load',
    '/v2/repository/models/{model_name}/unload',
)
_GRACE_SECONDS = 5  # As MLServer gives gRPC.
# One line for each of a stranger's attempts would fill a disk.
_NOISE = ('Invalid HTTP request received.', 'Unsupported upgrade request.')


def install(access: access_lib.Access) -> None:
  """Has MLServer make what is below, from now on in this process."""
  made = {
      'DataPlane': plane_lib.Plane,
      'RESTServer': functools.partial(_Rest, access=access),
      'GRPCServer': functools.partial(_Grpc, access=access),
  }
  for name, server in made.items():
    setattr(mlserver_server, name, server)
  logging.getLogger('uvicorn.error').addFilter(
      lambda record: not str(record.msg).startswith(_NOISE)
  )


class _Rest(RESTServer):
  """REST behind a guard, over TLS if there is a certificate."""

  def __init__(self, *args, access: access_lib.Access):
    super().__init__(*args)
    self._access = access
    access_lib.warn_if_open(access, self._settings.host)
    self._route()
    for kind, status in (
        (errors.InputError, lambda error: 400),
        (mlserver_errors.MLServerError, rest.status_of),
        (fastapi_exceptions.RequestValidationError, lambda error: 422),
        (starlette_exceptions.HTTPException, lambda error: error.status_code),
    ):
      answer = functools.partial(_answer, status)
      self._app.add_exception_handler(kind, answer)
    behind_guard = functools.partial(guard.Guard, access=access)
    self._app.add_middleware(behind_guard)  # pyrefly: ignore

  def _route(self):
    """Puts our endpoints in the place of MLServer's."""
    endpoint = rest.Endpoint(self._data_plane).infer  # pyrefly: ignore
    ours = [
        routing.Route(prefix + suffix, made, methods=['POST'])
        for suffixes, made in ((_SCORING, endpoint), (_STREAMING, _no_stream))
        for suffix in suffixes
        for prefix in (_MODEL, _VERSION)
    ]
    ours += [
        routing.Route(path, _no_loading, methods=['POST']) for path in _LOADING
    ]
    replaced = {route.path for route in ours}
    router = self._app.router
    router.routes[:] = ours + [
        route
        for route in router.routes
        if getattr(route, 'path', '') not in replaced | {'/openapi.json'}
    ]
    router.redirect_slashes = False

  def _get_config(self) -> uvicorn.Config:
    config = super()._get_config()
    config.ws = 'none'
    # Else a client that keeps a connection over TLS idle delays the end.
    config.timeout_graceful_shutdown = _GRACE_SECONDS
    config.ssl_certfile = self._access.tls_certificate or None
    config.ssl_keyfile = self._access.tls_key or None
    return config


async def _no_stream(request):
  del request
  raise starlette_exceptions.HTTPException(
      404, 'infer_stream: this server does not stream; post to .../infer'
  )


async def _no_loading(request):
  del request
  raise starlette_exceptions.HTTPException(403, servicer.NO_LOADING)


async def _answer(status, request, error) -> responses.Response:
  """Returns one line about an error."""
  del request
  if isinstance(error, fastapi_exceptions.RequestValidationError):
    first = error.errors()[0]
    place = '.'.join(map(str, first['loc']))
    reason = f'{place}: {first["msg"]}'  # And not what it was found in.
  elif isinstance(error, starlette_exceptions.HTTPException):
    reason = error.detail
  else:
    reason = str(error)
  return responses.JSONResponse(
      {'error': str(errors.InputError(reason))},
      status(error),
      getattr(error, 'headers', None),
  )


class _Grpc(GRPCServer):
  """gRPC behind an interceptor, over TLS if there is a certificate."""

  def __init__(self, *args, access: access_lib.Access):
    super().__init__(*args)
    self._access = access

  def _create_server(self) -> aio.Server:
    self._interceptors = [interceptor.Interceptor(self._access)]
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
        servicer.Servicer(self._data_plane, self._model_repository_handlers),
        self._server,
    )
    address = f'{self._settings.host}:{self._settings.grpc_port}'
    if self._access.tls_certificate:
      self._server.add_secure_port(address, _credentials(self._access))
    else:
      self._server.add_insecure_port(address)
    return self._server

  def _get_options(self) -> list[tuple[str, object]]:
    limit = self._settings.grpc_max_message_length
    return super()._get_options() + [
        (
            'grpc.max_receive_message_length',
            self._access.max_body_bytes if limit is None else limit,
        ),
        # Else a second server on this port would take half of the requests.
        ('grpc.so_reuseport', 0),
    ]


def _credentials(access: access_lib.Access) -> grpc.ServerCredentials:
  read = lambda path: pathlib.Path(path).read_bytes()
  pair = (read(access.tls_key), read(access.tls_certificate))
  return grpc.ssl_server_credentials([pair])

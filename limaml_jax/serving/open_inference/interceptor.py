"""Interceptor: turns calls away over gRPC, and says of each error whose it is.

Left alone, grpc takes a torn message, and MLServer an unknown model, for an
error of the server, and MLServer logs a traceback of each.
"""

from collections.abc import Awaitable
from collections.abc import Callable
import logging

from google.protobuf import message
import grpc
from grpc import aio
from mlserver import errors as mlserver_errors

from limaml_jax import errors
from limaml_jax.serving.open_inference import access as access_lib
from limaml_jax.serving.open_inference import crash

_LOGGER = logging.getLogger(__name__)
_SERVICE = '/inference.GRPCInferenceService'
_HEALTH = (f'{_SERVICE}/ServerLive', f'{_SERVICE}/ServerReady')

Continuation = Callable[
    [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]
]


class _Torn:
  """Stands for a message that could not be read."""


class Interceptor(aio.ServerInterceptor):
  """Lets in who bears the token; health is for everybody."""

  def __init__(self, access: access_lib.Access):
    """Takes who is let in."""
    self._access = access
    self._handlers: dict[str, grpc.RpcMethodHandler] = {}
    self._unauthenticated = _refusing(
        grpc.StatusCode.UNAUTHENTICATED,
        'authorization: send "Bearer" and the token',
    )
    self._no_stream = _refusing(
        grpc.StatusCode.UNIMPLEMENTED,
        'ModelStreamInfer: this server does not stream; call ModelInfer',
    )

  async def intercept_service(
      self,
      continuation: Continuation,
      handler_call_details: grpc.HandlerCallDetails,
  ) -> grpc.RpcMethodHandler | None:
    """As grpc has it."""
    details = handler_call_details
    if self._access.token and not self._is_admitted(details):
      return self._unauthenticated
    handler = self._handlers.get(details.method)
    if handler is None:
      handler = await continuation(details)
      if handler is None:
        return None
      if handler.request_streaming:
        return self._no_stream
      handler = _explained(handler, details.method)
      self._handlers[details.method] = handler
    return handler

  def _is_admitted(self, details):
    if details.method in _HEALTH:
      return True
    metadata = dict(details.invocation_metadata or ())
    value = metadata.get('authorization', '')
    return self._access.admits(
        value if isinstance(value, bytes) else value.encode()
    )


def _refusing(code: grpc.StatusCode, reason: str) -> grpc.RpcMethodHandler:
  """Returns a handler that reads nothing, whatever is called."""

  async def refuse(requests, context):
    del requests
    await context.abort(code, reason)

  return grpc.stream_stream_rpc_method_handler(refuse)


def _explained(
    handler: grpc.RpcMethodHandler, method: str
) -> grpc.RpcMethodHandler:
  """Returns a handler whose errors have a code and one line."""
  behavior = handler.unary_unary
  read = handler.request_deserializer

  def deserialize(data):
    try:
      return read(data)  # pyrefly: ignore
    except message.DecodeError:
      return _Torn

  async def answer(request, context):
    try:
      if request is _Torn:
        raise errors.InputError('message: torn, or none of this call; send one')
      return await behavior(request, context)  # pyrefly: ignore
    except aio.AbortError:
      raise
    except errors.InputError as error:
      code, reason = grpc.StatusCode.INVALID_ARGUMENT, error
    except mlserver_errors.ModelNotFound as error:
      code, reason = grpc.StatusCode.NOT_FOUND, errors.InputError(str(error))
    except mlserver_errors.MLServerError as error:
      code, reason = grpc.StatusCode.UNAVAILABLE, error
    except Exception as error:  # pylint: disable=broad-except
      crash.log(_LOGGER, method, error)
      code, reason = grpc.StatusCode.INTERNAL, crash.MESSAGE
    await context.abort(code, str(reason))

  return grpc.unary_unary_rpc_method_handler(
      answer,
      request_deserializer=deserialize,
      response_serializer=handler.response_serializer,
  )

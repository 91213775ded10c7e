"""Access: who may ask, how much at once, and over which wire."""

from collections.abc import Mapping
import dataclasses
import hmac
import ipaddress
import logging
import os
import pathlib
from typing import Any

from limaml_jax import errors

_LOGGER = logging.getLogger(__name__)
TOKEN_VARIABLE = 'LIMAML_TOKEN'
_BEARER = b'bearer '
_PLACE = 'settings.json: model_repository_implementation_args'
_OPTIONS = {'max_body_bytes': int, 'tls_certificate': str, 'tls_key': str}


@dataclasses.dataclass(frozen=True)
class Access:
  """What the servers let in.

  Attributes:
    max_body_bytes: of a request.
    token: that clients must bear; empty lets everybody in.
    tls_certificate: path of the server's certificate; '' for no TLS.
    tls_key: path of its key.
  """

  max_body_bytes: int = 4 << 20
  token: bytes = dataclasses.field(default=b'', repr=False)
  tls_certificate: str = ''
  tls_key: str = ''

  def admits(self, authorization: bytes) -> bool:
    """Says whether a request with this header may be answered.

    Args:
      authorization: value of the header, empty if there is none.
    """
    if not self.token:
      return True
    kind, bearer = authorization[: len(_BEARER)], authorization[len(_BEARER) :]
    # In constant time, so that nobody can guess it letter by letter.
    right = hmac.compare_digest(bearer, self.token)
    return kind.lower() == _BEARER and right


def parse(options: Mapping[str, Any]) -> Access:
  """Reads the arguments that settings.json gives, and the environment.

  Args:
    options: by name, from JSON; see `read`.

  Raises:
    InputError: for an unknown name, or a wrong value.
  """
  for name, value in options.items():
    if name not in _OPTIONS:
      raise errors.InputError(
          f'{_PLACE}.{name} is unknown; there are {", ".join(_OPTIONS)}'
      )
    if type(value) is not _OPTIONS[name]:
      kind = 'a whole number' if _OPTIONS[name] is int else 'a text'
      raise errors.InputError(f'{_PLACE}.{name} is {value!r:.80}; set {kind}')
  return read(**options)


def warn_if_open(access: Access, host: str) -> None:
  """Says so if whoever reaches this machine may ask.

  Args:
    access: of the servers.
    host: that they are bound to.
  """
  try:
    is_inside = ipaddress.ip_address(host).is_loopback
  except ValueError:
    is_inside = host == 'localhost'
  if not (access.token or is_inside):
    _LOGGER.warning(
        'settings.json: host is %s and there is no token: whoever reaches it'
        ' may ask; set %s, or host to 127.0.0.1',
        host,
        TOKEN_VARIABLE,
    )


def read(
    *,
    max_body_bytes: int = Access.max_body_bytes,
    tls_certificate: str = '',
    tls_key: str = '',
    environment: Mapping[str, str] = os.environ,
) -> Access:
  """Reads what settings and the environment say.

  Args:
    max_body_bytes: of a request.
    tls_certificate: path of a file in PEM.
    tls_key: path of a file in PEM.
    environment: holds the token, in LIMAML_TOKEN.

  Raises:
    InputError: if a value is wrong, or a file cannot be read.
  """
  if not isinstance(max_body_bytes, int) or max_body_bytes < 1024:
    raise errors.InputError(
        f'{_PLACE}.max_body_bytes is {max_body_bytes!r}; set 1024 or more'
    )
  if bool(tls_certificate) != bool(tls_key):
    raise errors.InputError(
        f'{_PLACE}: set both tls_certificate and tls_key, or none'
    )
  for path in filter(None, (tls_certificate, tls_key)):
    try:
      pathlib.Path(path).read_bytes()
    except OSError as error:
      raise errors.InputError(
          f'{_PLACE}: {path}: {error.strerror}; name a file in PEM that this'
          ' user can read'
      ) from error
  return Access(
      max_body_bytes=max_body_bytes,
      token=environment.get(TOKEN_VARIABLE, '').encode(),
      tls_certificate=tls_certificate,
      tls_key=tls_key,
  )

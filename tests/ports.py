"""Ports that nothing listens to."""

import contextlib
import socket


def free_ports(count: int) -> list[int]:
  """Returns different ports of this machine that were free just now."""
  with contextlib.ExitStack() as stack:
    listeners = [
        stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        for _ in range(count)
    ]
    return [listener.getsockname()[1] for listener in listeners]

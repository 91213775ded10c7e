"""Load: requests over gRPC, closed loop or at a fixed rate, and their times.

MLServer, and grpc with it, is an extra: only who sends something needs it.
"""

import asyncio
from collections.abc import Sequence
import itertools
import struct
import time
from typing import Any

import numpy as np

METHOD = '/inference.GRPCInferenceService/ModelInfer'
_LENGTH = struct.Struct('<I')


def messages(
    model: str,
    entities: Sequence[str],
    items: Sequence[str],
    *,
    num_candidates: int,
    number: int,
) -> list[bytes]:
  """Returns random requests of one entity each, as they go over the wire."""
  rng = np.random.default_rng(0)

  def draw(keys, size):
    return [keys[n] for n in rng.integers(len(keys), size=size)]

  return [
      message(model, draw(entities, 1), draw(items, num_candidates))
      for _ in range(number)
  ]


def message(
    model: str, entities: Sequence[str], candidates: Sequence[str]
) -> bytes:
  """Returns a request as it goes over the wire."""
  from mlserver.grpc import dataplane_pb2 as pb

  request = pb.ModelInferRequest(model_name=model)
  for name, keys in (('entity', entities), ('candidates', candidates)):
    request.inputs.add(name=name, datatype='BYTES', shape=[len(keys)])
    request.raw_input_contents.append(_pack(keys))
  return request.SerializeToString()


def read(answer: bytes) -> Any:
  """Returns the `ModelInferResponse` that came over the wire."""
  from mlserver.grpc import dataplane_pb2 as pb

  return pb.ModelInferResponse.FromString(answer)


def closed_loop(
    address: str,
    requests: Sequence[bytes],
    *,
    concurrency: int,
    seconds: float,
) -> np.ndarray:
  """Returns the seconds of each request, each client's next after its last."""

  async def run(call):
    order = itertools.cycle(requests)
    stop = time.perf_counter() + seconds
    taken: list[float] = []

    async def client():
      while (start := time.perf_counter()) < stop:
        await call(next(order))
        taken.append(time.perf_counter() - start)

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return taken

  return np.asarray(_with_channel(address, run))


def open_loop(
    address: str, requests: Sequence[bytes], *, rate: float, seconds: float
) -> np.ndarray:
  """Returns the seconds from when each request was due to its answer.

  Requests come one by one at a rate, whether or not earlier ones are answered:
  whoever is late makes all that follow wait, as in life.
  """

  async def run(call):
    taken: list[float] = []
    start = time.perf_counter()

    async def ask(due, message):
      await call(message)
      taken.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
      for n in range(int(rate * seconds)):
        due = start + n / rate
        if (pause := due - time.perf_counter()) > 0:
          await asyncio.sleep(pause)
        tasks.create_task(ask(due, requests[n % len(requests)]))
    return taken

  return np.asarray(_with_channel(address, run))


def _with_channel(address, run):
  from grpc import aio

  async def main():
    async with aio.insecure_channel(address) as channel:
      return await run(channel.unary_unary(METHOD))

  return asyncio.run(main())


def _pack(texts: Sequence[str]) -> bytes:
  encoded = [text.encode() for text in texts]
  return b''.join(_LENGTH.pack(len(text)) + text for text in encoded)

"""Parity: what clients get is what the evaluation as served has scored.

LIMAML_EXAMPLES random requests over gRPC, 10000 for a long run.
"""

import os

from absl.testing import absltest
import numpy as np
import pytest

from limaml_jax.evaluation import replay
from tests import served
from tests import small_bundle

pytest.importorskip('mlserver', reason='THE SERVER IS NOT TESTED')
import grpc  # noqa: E402
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402
from mlserver.grpc import dataplane_pb2_grpc  # noqa: E402

_NUM_REQUESTS = int(os.environ.get('LIMAML_EXAMPLES', '300'))
_MAX_ENTITIES, _MAX_ROWS = 4, 8


class ParityTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    served.skip_without_mlserver()
    self.made = small_bundle.make(self.create_tempdir().full_path)
    small_bundle.write_settings(self.made, (1, 2, 3))
    # One refresh, each entity at its first test event: it stays published.
    self.evaluated = self.made.line.replay()
    table, info = self.made.line.table, self.made.line.info
    rows = replay.test_rows(table, info)
    self.log = small_bundle.to_log(table, rows.event)
    self.rows_of = [
        np.flatnonzero(rows.entity == entity)
        for entity in range(len(table.entity_keys))
    ]

  def draw(self, rng):
    """Returns rows of some entities, and how many of each."""
    entities = [e for e, rows in enumerate(self.rows_of) if rows.size]
    chosen = rng.choice(entities, rng.integers(1, _MAX_ENTITIES + 1), False)
    rows = [
        rng.choice(self.rows_of[e], rng.integers(1, _MAX_ROWS + 1))
        for e in chosen
    ]
    return np.concatenate(rows), [len(part) for part in rows]

  def make_request(self, rows, counts):
    first = np.cumsum([0, *counts[:-1]])
    column = lambda name, places: [self.log[name][i].encode() for i in places]
    request = pb.ModelInferRequest(model_name='limaml')
    for name, datatype, field, values in (
        ('entity', 'BYTES', 'bytes', column('user', rows[first])),
        ('candidates', 'BYTES', 'bytes', column('item', rows)),
        ('num_candidates', 'INT64', 'int64', counts),
        ('page', 'BYTES', 'bytes', column('page', rows)),
        ('hour', 'FP64', 'fp64', [self.log['hour'][i] for i in rows]),
    ):
      tensor = request.inputs.add(
          name=name, datatype=datatype, shape=[len(values)]
      )
      getattr(tensor.contents, f'{field}_contents').extend(values)
    return request

  def test_scores_are_those_of_the_evaluation_as_served(self):
    rng = np.random.default_rng(0)
    farthest = 0.0
    with served.serve(self.made.root) as server:
      with grpc.insecure_channel(server.grpc) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(_NUM_REQUESTS):
          rows, counts = self.draw(rng)
          answer = stub.ModelInfer(self.make_request(rows, counts), timeout=30)
          found = np.asarray(answer.outputs[0].contents.fp32_contents)
          expected = self.evaluated.score[rows]
          farthest = max(farthest, np.abs(found - expected).max())
    self.assertGreater(np.std(self.evaluated.score), 0.01)
    self.assertLessEqual(farthest, 1e-6)


if __name__ == '__main__':
  absltest.main()

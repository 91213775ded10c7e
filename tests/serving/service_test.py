import asyncio
import shutil
import time
from unittest import mock

from absl.testing import absltest
import numpy as np

from limaml_jax import errors
from limaml_jax.serving import request as request_lib
from limaml_jax.store import address
from limaml_jax.store import lookup
from limaml_jax.store import snapshot
from tests import drawn_bundle
from tests.serving import small_service

_STATUS = lookup.Status


class ServiceTest(small_service.ServiceTestCase):

  def test_an_entity_is_scored_with_its_embedding(self):
    self.export(0)
    version = self.publish(0)
    scored = self.ask(self.serve())
    self.assert_scored(scored, model=0, embeddings=0)
    self.assertEqual(scored.statuses.tolist(), [_STATUS.PRESENT])
    self.assertEqual(scored.snapshot, version)
    self.assertEqual(scored.version, '00000001')
    self.assertEqual(scored.scores.dtype, np.float32)

  def test_expected_scores_tell_models_and_embeddings_apart(self):
    # Or none of these tests would tell anything.
    kinds = [(0, 0), (0, None), (1, 0), (1, 1), (1, None)]
    scores = [small_service.expected(*kind) for kind in kinds]
    for i, one in enumerate(scores):
      for other in scores[:i]:
        self.assertGreater(np.abs(one - other).max(), 0.01)

  def test_age_counts_from_the_watermark(self):
    self.export(0)
    self.publish(0)
    service = self.serve(clock=lambda: drawn_bundle.CUTOFF + 500.75)
    scored = self.ask(service)
    self.assertEqual(scored.ages.tolist(), [500])

  def test_an_unknown_entity_is_missing(self):
    self.export(0)
    self.publish(0)
    scored = self.ask(self.serve(), keys=['u0003', 'nobody'])
    self.assertEqual(
        scored.statuses.tolist(), [_STATUS.PRESENT, _STATUS.MISSING]
    )
    self.assertEqual(scored.ages[1], -1)
    np.testing.assert_allclose(
        scored.scores[: small_service.ITEMS],
        small_service.expected(0, 0),
        atol=1e-6,
    )

  def test_without_adaptation_the_default_scores(self):
    self.export(0)
    self.publish(0)
    scored = self.ask(self.serve(), adapt=False)
    self.assert_scored(scored, model=0)
    self.assertEqual(scored.statuses.tolist(), [_STATUS.PRESENT])

  def test_a_snapshot_of_no_known_model_is_a_mismatch(self):
    self.export(0)
    version = self.publish(1)
    scored = self.ask(self.serve())
    self.assert_scored(scored, model=0)
    self.assertEqual(scored.statuses.tolist(), [_STATUS.VERSION_MISMATCH])
    self.assertEqual(scored.ages.tolist(), [-1])
    self.assertEqual(scored.snapshot, version)

  def test_a_store_that_is_down_is_unavailable(self):
    self.export(0)
    service = self.serve()
    scored = self.ask(service)
    self.assert_scored(scored, model=0)
    self.assertEqual(scored.statuses.tolist(), [_STATUS.UNAVAILABLE])
    self.assertEqual((scored.snapshot, scored.ages.tolist()), ('', [-1]))
    self.assertGreater(
        self.metric('limaml_store_failures_total', reason='down'), 0
    )
    self.assertEqual(
        self.metric('limaml_embeddings_total', status='UNAVAILABLE'), 1
    )

  def test_metrics_tell_of_a_request(self):
    self.export(0)
    version = self.publish(0)
    service = self.serve()
    self.ask(service, keys=['u0003', 'nobody'])
    for status, count in (('PRESENT', 1), ('MISSING', 1), ('STALE', 0)):
      self.assertEqual(
          self.metric('limaml_embeddings_total', status=status), count
      )
    self.assertEqual(self.metric('limaml_candidates_sum'), 10)
    self.assertEqual(self.metric('limaml_snapshot_version'), int(version))
    self.assertEqual(self.metric('limaml_bundle_version'), 1)
    for stage in ('lookup', 'features', 'compute'):
      self.assertEqual(
          self.metric('limaml_stage_seconds_count', stage=stage), 1
      )
    self.assertAlmostEqual(
        self.metric('limaml_snapshot_age_seconds'),
        time.time() - drawn_bundle.CUTOFF,
        delta=30,
    )

  def test_a_bundle_that_cannot_be_served_is_told_at_the_start(self):
    self.export(0)
    shutil.rmtree(self.root / 'versions' / '00000001' / 'items')
    with self.assertRaisesRegex(errors.InputError, 'items.*is missing'):
      self.serve()


class StaleTest(small_service.ServiceTestCase):

  def statuses(self, *, exported, set_to, age=1000):
    self.export(0, max_age_seconds=exported)
    self.publish(0)
    service = self.serve(
        max_age_seconds=set_to, clock=lambda: drawn_bundle.CUTOFF + age
    )
    scored = self.ask(service, keys=['u0003', 'nobody'])
    np.testing.assert_allclose(
        scored.scores[: small_service.ITEMS],
        small_service.expected(0, 0),
        atol=1e-6,
    )
    self.assertEqual(scored.statuses[1], _STATUS.MISSING)
    return _STATUS(scored.statuses[0]).name

  def test_older_than_the_bundle_allows(self):
    self.assertEqual(self.statuses(exported=900, set_to=-1), 'STALE')

  def test_younger_than_the_bundle_allows(self):
    self.assertEqual(self.statuses(exported=1100, set_to=-1), 'PRESENT')

  def test_settings_win_over_the_bundle(self):
    self.assertEqual(self.statuses(exported=1100, set_to=900), 'STALE')

  def test_0_is_never(self):
    self.assertEqual(self.statuses(exported=900, set_to=0), 'PRESENT')


class SwitchTest(small_service.ServiceTestCase):

  def test_new_weights_wait_for_their_embeddings(self):
    self.export(0)
    self.publish(0)
    service = self.serve()
    self.export(1)
    self.assertTrue(service.versions.poll())
    scored = self.ask(service)
    self.assert_scored(scored, model=0, embeddings=0)
    self.assertEqual(scored.version, '00000001')
    # Both at once.
    self.publish(1)
    scored = self.ask(service)
    self.assert_scored(scored, model=1, embeddings=1)
    self.assertEqual(scored.version, '00000002')

  def test_embeddings_wait_for_their_weights(self):
    self.export(0)
    self.publish(1)
    service = self.serve()
    self.assertEqual(
        self.ask(service).statuses.tolist(), [_STATUS.VERSION_MISMATCH]
    )
    self.export(1)
    self.assertTrue(service.versions.poll())
    self.assert_scored(self.ask(service), model=1, embeddings=1)

  def test_a_rollback_of_the_store_goes_back(self):
    self.export(0)
    first = self.publish(0)
    self.export(1)
    self.publish(1)
    service = self.serve()
    self.assert_scored(self.ask(service), model=1, embeddings=1)
    snapshot.publish(address.open_backend(self.store), 'user', first)
    scored = self.ask(service)
    self.assert_scored(scored, model=0, embeddings=0)
    self.assertEqual((scored.snapshot, scored.version), (first, '00000001'))

  def test_of_two_exports_of_a_model_the_newer_serves(self):
    self.export(0)
    self.publish(0)
    service = self.serve()
    self.export(0)
    service.versions.poll()
    self.assertEqual(self.ask(service).version, '00000002')

  def test_a_rollback_of_the_bundle_wins_over_newer_exports(self):
    self.export(0)
    self.export(0)
    self.publish(0)
    service = self.serve()
    (self.root / 'CURRENT').write_text('00000001\n')
    self.assertTrue(service.versions.poll())
    self.assertEqual(self.ask(service).version, '00000001')

  def test_a_request_sees_one_pair_whatever_changes_meanwhile(self):
    self.export(0)
    self.export(1)
    self.publish(0)
    service = self.serve()
    real = service.embeddings.lookup

    async def lookup_and_change(keys, now):
      found = await real(keys, now)
      self.publish(1)  # After the store has answered.
      return found

    with mock.patch.object(service.embeddings, 'lookup', lookup_and_change):
      scored = self.ask(service)
    self.assert_scored(scored, model=0, embeddings=0)
    self.assert_scored(self.ask(service), model=1, embeddings=1)

  def test_a_refused_request_leaves_the_service_well(self):
    self.export(0)
    self.publish(0)
    service = self.serve()
    request = self.request()._replace(given={'mood': request_lib.Given(['x'])})
    with self.assertRaisesRegex(errors.InputError, 'mood: no such feature'):
      asyncio.run(service.score(request))
    self.assert_scored(self.ask(service), model=0, embeddings=0)


if __name__ == '__main__':
  absltest.main()

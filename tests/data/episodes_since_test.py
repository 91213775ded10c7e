"""A plan of the events since a time: of what a further training learns."""

from absl.testing import absltest
import numpy as np

from limaml_jax import config as config_lib
from limaml_jax.data import episodes
from tests.experiments.baselines import daily_world


class PlanSinceTest(absltest.TestCase):

  def test_queries_are_the_later_events_and_support_is_what_it_was(self):
    data = daily_world.make()
    config = config_lib.EpisodeConfig(query_buckets=(1,))
    since = data.info.cutoffs[0] - 2 * daily_world.DAY
    whole = episodes.plan(data.table, data.info, config)
    part = episodes.plan(data.table, data.info, config, since=since)
    is_later = data.table.timestamps[whole.query_start] >= since
    self.assertBetween(np.mean(is_later), 0.1, 0.9)
    for one, other in zip(whole.take(is_later), part, strict=True):
      np.testing.assert_array_equal(one, other)


if __name__ == '__main__':
  absltest.main()

from absl.testing import absltest
import numpy as np

from experiments import log_input
from experiments.replay import impressions
from limaml_jax.data.tasks import task_table
from tests.data import small_log


class PastImpressionsTest(absltest.TestCase):

  def test_are_those_of_prepare(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.add_feature(
        name='rate', kind='past_rate', role='global', of=['genres', 'movie']
    )
    log.add_feature(name='seen', kind='past_count', role='meta', of=['device'])
    log.add_feature(
        name='late', kind='past_count', role='global', of=['device'],
        window_hours=0.05,
    )  # fmt: skip
    log.add_feature(
        name='since', kind='past_age', role='global', of=['movie'],
        num_buckets=3,
    )  # fmt: skip
    info = log.prepare(test_fraction=0)
    table = task_table.load(log.output)
    start = small_log.START + 100
    found = impressions.read(
        log_input.LogInput(log.schema, log.raw, None),
        'user',
        impressions.Chosen(start=start),
        scratch=self.create_tempdir().full_path,
        memory_limit='1GB',
        max_reject_fraction=0,
    )
    (rows,) = impressions.slices(found, 100)
    late = table.timestamps >= start
    self.assertEqual(
        [(f.name, f.kind) for f in found.features],
        [('device', 'categorical'), ('rate', 'numeric'), ('seen', 'numeric'),
         ('late', 'numeric'), ('since', 'bucketized')],
    )  # fmt: skip
    np.testing.assert_array_equal(
        np.float32(rows.values['rate']), table.event_features['rate'][late]
    )
    for name in ('seen', 'late'):
      np.testing.assert_array_equal(
          np.float32(np.log1p(rows.values[name])),
          table.event_features[name][late],
      )
    ages = np.asarray(rows.values['since'], np.float64)
    boundaries = info.features[-1].boundaries
    np.testing.assert_array_equal(
        np.where(
            np.isnan(ages),
            0,
            1 + np.searchsorted(boundaries, np.float32(ages), side='right'),
        ),
        table.event_features['since'][late],
    )
    self.assertLess(np.sum(late), len(late))


if __name__ == '__main__':
  absltest.main()

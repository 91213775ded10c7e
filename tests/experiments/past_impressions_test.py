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
    log.prepare(test_fraction=0)
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
        [('device', 'categorical'), ('rate', 'numeric'), ('seen', 'numeric')],
    )
    np.testing.assert_array_equal(
        np.float32(rows.values['rate']), table.event_features['rate'][late]
    )
    np.testing.assert_array_equal(
        np.float32(np.log1p(rows.values['seen'])),
        table.event_features['seen'][late],
    )
    self.assertLess(np.sum(late), len(late))


if __name__ == '__main__':
  absltest.main()

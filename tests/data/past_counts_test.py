from absl.testing import absltest
import ibis

from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.tasks import past_events


def num_windows(*features):
  """Returns how many sums over windows the features make of a log."""
  past = [
      past_events.Past(
          schema_lib.Feature(
              name=f'{n}', owner='context', role='global', **settings
          ),
          ('item',),
      )
      for n, settings in enumerate(features)
  ]
  rows = ibis.table(
      {'entity': 'string', 'time': 'int64', 'item': 'string',
       'label': 'float32'},
      name='events',
  )  # fmt: skip
  found = past_events.add(rows, past, keep=['time'])
  return ibis.to_sql(found, dialect='duckdb').count(' OVER ')


class AlikeTest(absltest.TestCase):

  def test_what_is_alike_is_counted_once(self):
    for one in (
        {'kind': 'past_rate', 'prior_rows': 2.0},
        {'kind': 'past_count', 'window_hours': 1.0},
        {'kind': 'past_age'},
    ):
      alone = num_windows(one)
      self.assertGreater(alone, 0)
      self.assertEqual(num_windows(one, one | {'num_buckets': 9}), alone)

  def test_a_rate_tells_the_count(self):
    rate = {'kind': 'past_rate', 'prior_rows': 2.0}
    others = {'kind': 'past_rate', 'prior_rows': 5.0}, {'kind': 'past_count'}
    self.assertEqual(num_windows(rate, *others), num_windows(rate))

  def test_windows_of_other_lengths_are_others(self):
    one = {'kind': 'past_count', 'window_hours': 1.0}
    self.assertEqual(
        num_windows(one, one | {'window_hours': 2.0}), 2 * num_windows(one)
    )


if __name__ == '__main__':
  absltest.main()

from absl.testing import absltest
import small_log

from limaml_jax import config as config_lib
from limaml_jax.data.log import schema_file
from limaml_jax.data.profile import profiler


class PastProfileTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def profile(self):
    return profiler.profile(
        schema_file.load(self.log.schema),
        self.log.raw,
        data=config_lib.DataConfig(),
    )

  def test_tells_of_past_features(self):
    # A sixth event of bob, which is rejected, counts for nothing.
    self.log.write_events(
        [*small_log.EVENTS, f'bob,m1,x,0,{small_log.START + 455},tv']
    )
    self.log.add_feature(
        name='seen', kind='past_count', role='global', of=['movie']
    )
    self.log.add_feature(
        name='rate', kind='past_rate', role='global', of=['city', 'genres'],
        prior_rows=2,
    )  # fmt: skip
    self.log.add_feature(
        name='since', kind='past_age', role='global', of=['movie'],
        num_buckets=4,
    )  # fmt: skip
    known = self.profile()
    columns = {column.name: column for column in known.columns}
    # m1: ann at 100, 500 and 900, bob at 150 and 450: five, so at most 4.
    seen = columns['seen']
    self.assertEqual((seen.table, seen.kind), ('log', 'past_count'))
    self.assertEqual((seen.minimum, seen.maximum), (0, 4))
    self.assertEqual((seen.rows, seen.nulls), (17, 1))
    # In hours; of each of five movies the first event has none, and one more.
    age = columns['since']
    self.assertEqual((age.kind, age.nulls), ('past_age', 6))
    self.assertAlmostEqual(age.minimum, 50 / 3600)
    # Of one event, the first, nothing is past.
    self.assertEqual(columns['rate'].nulls, 2)
    self.assertEmpty([f for f in known.findings if "'rate'" in f])
    self.assertEmpty([f for f in known.findings if "'since'" in f])

  def test_suspects_no_leak(self):
    # Each movie is liked always or never: what is past tells the label.
    self.log.write_events([
        f'u{n},m{n % 2},{5 - 4 * (n % 2)},0,{small_log.START + n},tv'
        for n in range(200)
    ])
    self.log.write('users.csv', ('id,age,city', 'u1,30,Rome'))
    self.log.add_feature(
        name='rate', kind='past_rate', role='global', of=['movie'], prior_rows=0
    )
    (leak,) = [one for one in self.profile().leaks if one.feature == 'rate']
    self.assertGreater(leak.roc_auc, 0.95)
    self.assertFalse(leak.suspected)


if __name__ == '__main__':
  absltest.main()

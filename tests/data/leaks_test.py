import pathlib

from absl.testing import absltest
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limaml_jax import config as config_lib
from limaml_jax.data.log import schema_file
from limaml_jax.data.profile import profiler

START = 1_000_000_000  # 2001-09-09, seconds.
WORLD = """
name = "world"

[interactions]
files = ["*.parquet"]
format = "parquet"
item = "item"
timestamp = "time"
timestamp_unit = "s"
label = "clicked"

[entities.user]
key = "user"
"""


class LeaksTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    rng = np.random.default_rng(0)
    self.num_rows = 4000
    self.users = rng.integers(0, 200, self.num_rows)
    self.labels = rng.integers(0, 2, self.num_rows)
    self.noise = rng.normal(size=self.num_rows)

  def profile(self, kind, values, labels=None, side_table=''):
    labels = self.labels if labels is None else labels
    numbers = np.arange(self.num_rows)
    log = {
        'user': [f'u{user}' for user in self.users],
        'item': [f'i{number % 50}' for number in numbers],
        'time': START + numbers,
        'clicked': labels,
        'feature': values,
    }
    pq.write_table(pa.table(log), self.dir / 'log.parquet')
    more = {'kind': kind}
    if kind == 'numeric':
      more['fill'] = 0
    if kind == 'multi_hot':
      more['max_values'] = 3
    lines = [f'{key} = {value!r}' for key, value in more.items()]
    path = self.dir / 'schema.toml'
    feature = (
        '[[features]]\nname = "feature"\nowner = "context"\n'
        'role = "global"\ncolumn = "feature"'
    )
    path.write_text('\n'.join([WORLD, side_table, feature, *lines, '']))
    return profiler.profile(
        schema_file.load(path), self.dir, data=config_lib.DataConfig()
    )

  def assert_named(self, known, named):
    (leak,) = known.leaks
    self.assertEqual(leak.suspected, named, leak)
    texts = [text for text in known.findings if 'tells the label' in text]
    self.assertLen(texts, int(named))

  def test_a_telling_number_is_named(self):
    known = self.profile('numeric', 10 * self.labels + self.noise)
    self.assert_named(known, True)

  def test_its_inverse_is_named(self):
    known = self.profile('numeric', -10 * self.labels + self.noise)
    self.assert_named(known, True)

  def test_a_number_that_is_there_after_a_click_only_is_named(self):
    values = pa.array(self.noise, mask=self.labels == 0)
    self.assert_named(self.profile('numeric', values), True)

  def test_a_telling_category_is_named(self):
    words = np.where(self.labels == 1, 'bought', 'left')
    self.assert_named(self.profile('categorical', words), True)

  def test_a_telling_word_in_a_list_is_named(self):
    words = [
        [f'w{n % 7}', *(['won'] if label else [])]
        for n, label in enumerate(self.labels)
    ]
    self.assert_named(self.profile('multi_hot', words), True)

  def test_a_strong_number_is_not_named(self):
    # Means 1.19 standard deviations apart give .8 = Phi(1.19 / sqrt(2)).
    known = self.profile('numeric', 1.19 * self.labels + self.noise)
    self.assert_named(known, False)
    self.assertAlmostEqual(known.leaks[0].roc_auc, 0.8, delta=0.02)

  def test_an_id_of_every_row_is_not_named(self):
    ids = [f'request{n}' for n in range(self.num_rows)]
    self.assert_named(self.profile('categorical', ids), False)

  def test_another_name_of_the_entity_is_not_named(self):
    # Whoever clicks once always clicks, which the entity may well know.
    alias = [f'account{user}' for user in self.users]
    known = self.profile('categorical', alias, labels=self.users % 2)
    self.assert_named(known, False)

  def test_what_holds_at_the_time_of_the_event_counts(self):
    # A row for each event, from its time on, that tells its label.
    rows = {
        'user': [f'u{user}' for user in self.users],
        'since': START + np.arange(self.num_rows),
        'state': self.labels,
    }
    pq.write_table(pa.table(rows), self.dir / 'users.parq')
    side_table = (
        '[entities.user.side_table]\nfiles = ["users.parq"]\n'
        'format = "parquet"\nkey = "user"\nvalid_from = "since"\n'
        '[[features]]\nname = "state"\nowner = "entity"\n'
        'kind = "categorical"\nrole = "meta"\ncolumn = "state"\n'
    )
    known = self.profile('numeric', self.noise, side_table=side_table)
    self.assertEqual(known.leaks[0].feature, 'state')
    self.assertTrue(known.leaks[0].suspected)
    self.assertFalse(known.leaks[1].suspected)
    self.assertEqual(known.coverage[0].repeated_keys, 0)

  def test_is_the_same_again(self):
    values = 10 * self.labels + self.noise
    self.assertEqual(
        self.profile('numeric', values), self.profile('numeric', values)
    )


if __name__ == '__main__':
  absltest.main()

import random

from absl.testing import absltest
import numpy as np
import small_log

from limaml_jax import errors
from limaml_jax.data import dataset
from limaml_jax.data.tasks import task_table

START = small_log.START


class VersionsTest(absltest.TestCase):
  """Side tables whose rows hold from some time on."""

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)
    self.log.edit_schema(
        'files = ["users.csv"]\nformat = "csv"\nkey = "id"',
        'files = ["users.csv"]\nformat = "csv"\nkey = "id"\n'
        'valid_from = "since"',
    )

  def cities(self, rows, **settings):
    self.log.write('users.csv', ['id,age,city,since', *rows])
    self.log.prepare(test_fraction=0, **settings)
    table = task_table.load(self.log.output)
    tokens = dataset.load_vocabularies(self.log.output)['city']
    names = np.array([None, *tokens])
    return names[table.event_features['city']].tolist()

  def test_an_event_reads_what_held_before_it(self):
    found = self.cities([
        f'ann,30,Rome,{START - 5}',
        # Valid from the very time of the fourth event: not before it.
        f'ann,31,Oslo,{START + 300}',
        f'ann,32,Bern,{START + 650}',
        f'bob,50,Lima,{START + 151}',
    ])
    ann = ['Rome'] * 4 + ['Oslo'] * 3 + ['Bern'] * 3
    bob = [None] * 2 + ['Lima'] * 3  # At 50, 150; 250, 350, 450.
    self.assertEqual(found, [*ann, *bob, None])

  def test_what_nobody_knows_yet_is_missing(self):
    self.cities([f'ann,30,Rome,{START + 450}', f'cat,3,Rome,{START + 9}'])
    ages = task_table.load(self.log.output).event_features['age']
    # Only the last five of ann's ten events are after it: the mean is theirs.
    self.assertEqual(ages.tolist(), [30] * 16)
    rooms = task_table.load(self.log.output).event_features['city']
    self.assertEqual(rooms.tolist(), [0] * 5 + [1] * 5 + [0] * 6)

  def test_a_repeated_time_of_a_key_is_refused(self):
    with self.assertRaisesRegex(
        errors.InputError, "users.csv: line 3: column 'id' is as in .*line 2"
    ):
      self.cities([f'ann,30,Rome,{START}', f'ann,30,Oslo,{START}'])

  def test_keys_spelled_otherwise_are_refused(self):
    with self.assertRaisesRegex(
        errors.InputError, 'users.csv: none of the entity keys'
    ):
      self.cities([f'u_ann,30,Rome,{START}'])

  def test_an_implausible_time_is_refused(self):
    with self.assertRaisesRegex(
        errors.InputError, "column 'since' is '1000000000000'.*valid_from_unit"
    ):
      self.cities([f'ann,30,Rome,{START}000'])

  def test_a_unit_of_its_own(self):
    self.log.edit_schema(
        'valid_from = "since"', 'valid_from = "since"\nvalid_from_unit = "iso"'
    )
    found = self.cities(['ann,30,Rome,2001-09-09 01:46:40.5'])  # START + .5.
    self.assertEqual(found[:10], [None] + ['Rome'] * 9)

  def test_agrees_with_a_search_by_hand(self):
    rng = random.Random(0)
    versions = {
        (user, START + 50 * time): f'c{rng.randrange(4)}'
        for user in ('ann', 'bob', 'cat')
        for time in rng.sample(range(-2, 22), 8)
    }
    rows = [f'{u},1,{city},{time}' for (u, time), city in versions.items()]
    rng.shuffle(rows)
    found = self.cities(rows)
    expected = []
    events = [line.split(',') for line in small_log.EVENTS]
    for user, *_, time, _ in sorted(events, key=lambda e: (e[0], int(e[4]))):
      held = {
          since: city
          for (of, since), city in versions.items()
          if of == user and since < int(time)
      }
      expected.append(held[max(held)] if held else None)
    self.assertEqual(found, expected)


class LatestTest(absltest.TestCase):

  def test_an_entity_keeps_its_latest_events(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    log.prepare(test_fraction=0, max_events_per_entity=3)
    table = task_table.load(log.output)
    self.assertEqual(table.offsets.tolist(), [0, 3, 6, 7])
    self.assertEqual(
        table.timestamps.tolist(),
        [START + t for t in (700, 800, 900, 250, 350, 450, 7)],
    )

  def test_later_events_push_none_of_the_history_out(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    # A fifth is tested: ann's last two, bob's last one.
    log.prepare(test_fraction=0.2, max_events_per_entity=3)
    table = task_table.load(log.output)
    self.assertEqual(table.num_history.tolist(), [3, 3, 0])
    self.assertEqual(table.num_train.tolist(), [3, 3, 0])
    self.assertEqual(
        table.timestamps.tolist(),
        [START + t for t in (500, 600, 700, 800, 900, 150, 250, 350, 450, 7)],
    )

  def test_a_negative_number_is_refused(self):
    log = small_log.SmallLog(self.create_tempdir().full_path)
    with self.assertRaisesRegex(errors.InputError, 'max_events_per_entity'):
      log.prepare(max_events_per_entity=-1)


if __name__ == '__main__':
  absltest.main()

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from limaml_jax.data import dataset
from limaml_jax.refresh import past as past_lib

_CAP = 3
_MASK = 2**64 - 1


def make_table(num_entities=40_000):
  """Returns two events of each entity, more of the first one.

  So there are several blocks of entities, and of events.
  """
  sizes = np.full(num_entities, 2)
  sizes[0] = 5
  offsets = np.concatenate([[0], np.cumsum(sizes)])
  rng = np.random.default_rng(0)
  num_events = offsets[-1]
  return dataset.TaskTable(
      entity_keys=np.array([f'u{n}' for n in range(num_entities)]),
      offsets=offsets,
      num_history=sizes,
      num_train=sizes,
      timestamps=np.arange(num_events) - np.repeat(offsets[:-1], sizes),
      labels=rng.integers(0, 2, num_events).astype(np.float32),
      targets=rng.random(num_events).astype(np.float32),
      weights=np.ones(num_events, np.float32),
      entity_features={'age': rng.normal(size=num_entities)},
      event_features={
          'item_id': rng.integers(1, 9, num_events).astype(np.int32),
          'tags': rng.integers(-1, 9, (num_events, 2)).astype(np.int16),
      },
  )


def mixed(hashed, *cells):
  """Mixes cells, as unsigned integers, into a hash."""
  for cell in cells:
    hashed = ((hashed ^ cell) * 0x9E3779B97F4A7C15) & _MASK
    hashed ^= hashed >> 32
  return hashed


def bits(number):
  return int(number.view(f'u{number.itemsize}'))


def slow_digest(table, cutoff):
  """Hashes event by event, in Python's own integers."""
  total = 0
  for n, key in enumerate(table.entity_keys):
    rows = np.arange(table.offsets[n], table.offsets[n + 1])
    events = 0
    for row in rows[table.timestamps[rows] < cutoff][-_CAP:]:
      events += mixed(
          0,
          bits(table.timestamps[row]),
          bits(table.targets[row]),
          bits(table.weights[row]),
          bits(table.event_features['item_id'][row]),
          *map(bits, table.event_features['tags'][row]),
      )
    entity = mixed(0, bits(table.entity_features['age'][n]), *map(ord, key))
    total += mixed(events & _MASK, entity)
  return f'{total & _MASK:016x}'


class PastTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.table = make_table()

  def digest(self, table=None, cutoff=4, members=None):
    table = self.table if table is None else table
    past = past_lib.Past(table, support_cap=_CAP)
    return past.digest(cutoff, members)

  def test_is_the_sum_of_hashes_of_entities(self):
    table = make_table(200)
    for cutoff in (0, 1, 4, 9):
      self.assertEqual(self.digest(table, cutoff), slow_digest(table, cutoff))

  def test_one_past_has_the_digests_of_all_cutoffs(self):
    past = past_lib.Past(self.table, support_cap=_CAP)
    found = [past.digest(cutoff) for cutoff in (1, 2, 1)]
    self.assertEqual(found[0], found[2])
    self.assertEqual(found[:2], [self.digest(cutoff=1), self.digest(cutoff=2)])
    self.assertNotEqual(found[0], found[1])

  @parameterized.parameters('timestamps', 'targets', 'weights')
  def test_notices_each_event(self, name):
    for event in (2, 32_767, 32_768, 70_000, self.table.labels.size - 1):
      column = getattr(self.table, name).copy()
      column[event] -= 1
      changed = self.table._replace(**{name: column})
      self.assertNotEqual(self.digest(changed, 9), self.digest(cutoff=9))

  def test_notices_every_value_of_a_feature(self):
    for column in (0, 1):
      tags = self.table.event_features['tags'].copy()
      tags[-1, column] += 1
      features = self.table.event_features | {'tags': tags}
      changed = self.table._replace(event_features=features)
      self.assertNotEqual(self.digest(changed), self.digest())

  def test_notices_attributes_and_keys(self):
    ages = self.table.entity_features['age'].copy()
    ages[-1] += 1
    keys = self.table.entity_keys.copy()
    keys[-1] = 'u7777777'
    for changed in (
        self.table._replace(entity_features={'age': ages}),
        self.table._replace(entity_keys=keys),
    ):
      self.assertNotEqual(self.digest(changed), self.digest())

  def test_longer_keys_elsewhere_change_nothing(self):
    wider = self.table.entity_keys.astype('U40')
    self.assertEqual(
        self.digest(self.table._replace(entity_keys=wider)), self.digest()
    )

  def test_passes_over_what_no_support_holds(self):
    targets = self.table.targets.copy()
    # Of the five events of the first entity, 1 to 3 are its latest before 4.
    targets[[0, 4]] += 1
    changed = self.table._replace(targets=targets)
    self.assertEqual(self.digest(changed), self.digest())

  def test_members_alone_count(self):
    targets = self.table.targets.copy()
    targets[-1] += 1
    changed = self.table._replace(targets=targets)
    members = np.arange(self.table.entity_keys.size) < 39_999
    self.assertEqual(
        self.digest(changed, members=members), self.digest(members=members)
    )
    self.assertNotEqual(self.digest(), self.digest(members=members))


if __name__ == '__main__':
  absltest.main()

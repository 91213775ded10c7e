import asyncio
import shutil

from absl.testing import absltest
import numpy as np

from limaml_jax.export import writing
from limaml_jax.serving import explorer
from tests import drawn_bundle
from tests import small_bundle
from tests.serving import small_service


class RanksTest(absltest.TestCase):

  def test_the_highest_is_first_and_the_earlier_of_equals(self):
    found = explorer.ranks(np.array([0.2, 0.9, 0.2, 0.5]))
    np.testing.assert_array_equal(found, [3, 1, 4, 2])


class HistogramTest(absltest.TestCase):

  def test_reaches_as_far_either_way_as_the_largest_shift(self):
    found = explorer.histogram(np.array([-0.5, 0.0, 0.0, 0.25]))
    self.assertEqual(found.limit, 0.5)
    # 41 bins of 1/41 from -0.5: 0 lies in the middle; 0.25 at 0.75 * 41 =
    # 30.75, in the one of number 30.
    expected = np.zeros(41, int)
    expected[[0, 20, 30]] = [1, 2, 1]
    np.testing.assert_array_equal(found.counts, expected)

  def test_what_does_not_move_is_in_the_middle(self):
    found = explorer.histogram(np.zeros(3))
    self.assertEqual(found.limit, 0.0)
    self.assertEqual(found.counts[20], 3)


class KeysTest(small_service.ServiceTestCase):

  def export_items(self, count):
    table = drawn_bundle.parts()[0]
    known = small_bundle.items(table)
    model = drawn_bundle.make_model()
    writing.write(
        self.root,
        model.half,
        model.facts(),
        items=writing.Known(
            known.keys[:count],
            {name: values[:count] for name, values in known.features.items()},
        ),
        entities=writing.Known(table.entity_keys, table.entity_features),
        vocabularies=small_bundle.vocabularies(),
    )

  def test_items_of_a_bundle_made_anew_are_the_new_ones(self):
    self.export_items(3)
    service = self.serve()
    explored = explorer.Explorer(service)

    def ask():
      loaded = service.versions.current
      self.assertEqual(loaded.bundle.manifest.version, '00000001')
      return asyncio.run(explored.candidates(loaded))

    self.assertLen(ask(), 3)
    shutil.rmtree(self.root)
    self.export_items(5)
    self.assertTrue(service.versions.poll())
    self.assertLen(ask(), 5)


if __name__ == '__main__':
  absltest.main()

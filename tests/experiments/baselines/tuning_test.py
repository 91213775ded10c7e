import dataclasses

from absl.testing import absltest

from experiments import pipeline
from experiments.baselines import registry
from experiments.baselines import tuning
from limaml_jax import errors
from tests.experiments.baselines import daily_world


class TuningTest(absltest.TestCase):

  def test_no_baseline_has_more_than_ten_trials(self):
    for name in tuning.SEARCHED:
      trials = tuning.trials(name)
      self.assertBetween(len(trials), 2, 10, msg=name)
      self.assertLen(set(trials), len(trials), msg=name)

  def test_what_is_served_was_tried(self):
    for name in tuning.SEARCHED:
      settings = type(tuning.trials(name)[0])()
      self.assertIn(settings, tuning.trials(name), msg=name)

  def test_refuses_to_search_for_what_takes_the_settings_of_trees(self):
    with self.assertRaisesRegex(errors.InputError, 'search that'):
      tuning.trials(registry.TREES_ITEM_RATES)

  def test_searches_on_no_test_event(self):
    data = daily_world.make()
    with self.assertRaisesRegex(errors.InputError, 'phase=validation'):
      pipeline.check_validation(data)
    info = dataclasses.replace(data.info, protocol='validation: two days')
    pipeline.check_validation(data._replace(info=info))


if __name__ == '__main__':
  absltest.main()

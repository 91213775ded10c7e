from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.search import halving


class HalvingTest(parameterized.TestCase):

  @parameterized.parameters(
      (1, [(1, 1)], 1),
      (8, [(8, 1), (4, 2), (2, 4)], 16),
      (12, [(12, 1), (6, 2), (3, 4)], 24),
  )
  def test_halves_and_doubles(self, num_trials, rounds, budget):
    self.assertEqual(halving.plan(num_trials), rounds)
    self.assertEqual(halving.num_judgements(num_trials), budget)

  def test_judges_what_it_planned_and_nothing_twice(self):
    calls = []

    def judge(number, seed):
      calls.append((number, seed))
      return float(number)

    trials = halving.search(8, judge)
    self.assertLen(calls, halving.num_judgements(8))
    self.assertLen(set(calls), len(calls))
    self.assertEqual([t.number for t in trials], [7, 6, 5, 4, 3, 2, 1, 0])
    self.assertEqual([len(t.values) for t in trials], [4, 4, 2, 2, 1, 1, 1, 1])

  def test_a_lucky_seed_does_not_win(self):
    # Number 3 is best of all under seed 0, and worst under the others.
    values = {0: [0.5] * 4, 1: [0.6] * 4, 2: [0.4] * 4, 3: [0.9, 0, 0, 0]}
    trials = halving.search(4, lambda number, seed: values[number][seed])
    self.assertEqual(trials[0].number, 1)
    self.assertEqual(trials[0].mean, 0.6)

  def test_finds_the_best_arm_more_often_than_one_seed_does(self):
    def draw(seed):
      noise = np.random.default_rng(seed).normal(0, 1.0, (8, 8))
      return np.linspace(0, 1, 8)[:, None] + noise

    halved, single = [], []
    for world in range(200):
      values = draw(world)
      trials = halving.search(8, lambda n, seed, v=values: float(v[n, seed]))
      halved.append(trials[0].number)
      single.append(int(np.argmax(values[:, 0])))
    self.assertGreater(np.mean(halved), np.mean(single) + 0.5)


if __name__ == '__main__':
  absltest.main()

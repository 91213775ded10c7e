"""The rule under which B may replace A, on figures made by hand."""

from absl.testing import absltest
from absl.testing import parameterized

from experiments.replay import verdict
from limaml_jax.evaluation import bootstrap
from limaml_jax.evaluation import comparison


def judge(roc_auc=(0.0, 0.01), entropy=(-0.01, 0.0), leaks=(0, 0), **rule):
  """Applies a rule to intervals of the two differences; None has none."""
  found = comparison.Comparison(
      num_rows=1000,
      num_entities=100,
      variants=(),
      difference={
          name: comparison.Figure(
              sum(bounds) / 2 if bounds else None,
              bootstrap.Interval(*bounds) if bounds else None,
          )
          for name, bounds in (
              ('roc_auc', roc_auc), ('normalized_entropy', entropy)
          )
      },
  )  # fmt: skip
  settings = {
      'max_loss': 0.001, 'max_entropy_gain': 0.002, 'allow_leaks': False
  }  # fmt: skip
  return verdict.judge(found, leaks, verdict.Rule(**settings | rule))


class JudgeTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('better', {}, True),
      ('as_much_worse_as_may_be', {'roc_auc': (-0.001, 0.0)}, True),
      ('perhaps_worse', {'roc_auc': (-0.0011, 0.02)}, False),
      ('entropy_at_its_limit', {'entropy': (0.0, 0.002)}, True),
      ('entropy_perhaps_above', {'entropy': (-0.1, 0.0021)}, False),
      ('nothing_may_be_lost', {'roc_auc': (0.0, 0.0), 'max_loss': 0.0}, True),
      ('undefined_ranking', {'roc_auc': None}, False),
      ('undefined_entropy', {'entropy': None}, False),
      ('a_leaks', {'leaks': (1, 0)}, False),
      ('b_leaks', {'leaks': (0, 1)}, False),
      ('leaks_allowed', {'leaks': (5, 5), 'allow_leaks': True}, True),
  )
  def test_rule(self, found, accepted):
    self.assertEqual(judge(**found).accepted, accepted)

  def test_reasons_have_the_numbers(self):
    reasons = judge(roc_auc=(-0.01, 0.03), leaks=(0, 7)).reasons
    self.assertEqual(
        reasons[0],
        'FAIL: ROC-AUC B - A = +0.01000, 95 % interval [-0.01000, +0.03000]:'
        ' the lower bound must not be below -0.001 (--max_loss)',
    )
    self.assertStartsWith(reasons[1], 'pass: normalized entropy B - A = -0.005')
    self.assertStartsWith(reasons[2], 'FAIL: 0 and 7 of 1,000 impressions')

  def test_what_is_undefined_is_said(self):
    self.assertStartsWith(
        judge(roc_auc=None).reasons[0], 'FAIL: ROC-AUC B - A is undefined'
    )


if __name__ == '__main__':
  absltest.main()

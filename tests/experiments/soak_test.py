"""A short soak; the long one is `python -m experiments.benchmark soak`.

It needs two cores for itself; the suite has `concurrency_test`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from experiments.benchmark import soak_verdict

_REPOSITORY = pathlib.Path(__file__).parents[2]
_GOOD = {
    'publisher': 'ran', 'failed': 0, 'mixed': 0, 'requests': 1,
    'snapshots': 22, 'models': 2, 'restarts': 6, 'exports': 1, 'bundles': 3,
    'memory_ratio': 1.02, 'p99_ratio': 1.5,
}  # fmt: skip


def _why_not() -> str:
  if shutil.which('redis-server') is None:
    return 'there is no redis-server'
  if len(os.sched_getaffinity(0)) < 2:
    return 'there is one core only'
  if sys.version_info >= (3, 13):
    return 'MLServer is not made for this Python'
  return ''


@pytest.mark.slow
@unittest.skipIf(_why_not(), _why_not())
class SoakTest(absltest.TestCase):

  def test_no_request_fails_or_is_mixed_while_everything_changes(self):
    run = subprocess.run(
        [
            sys.executable, '-m', 'experiments.benchmark', 'soak',
            '--soak_seconds=9', '--soak_publish=2', '--soak_restart=4',
            '--soak_load=0.3', '--soak_entities=500', '--soak_items=300',
        ],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    self.assertEqual(run.returncode, 0, msg=run.stderr[-2000:])
    found = json.loads(run.stdout)
    self.assertEqual((found['failed'], found['mixed']), (0, 0))
    # Of both kinds, or nothing was put to the test.
    self.assertGreater(found['statuses']['PRESENT'], 100)
    self.assertGreater(found['statuses']['UNAVAILABLE'], 0)
    self.assertEqual(found['models'], 2)
    self.assertGreaterEqual(found['snapshots'], 2)
    self.assertGreaterEqual(found['restarts'], 1)
    self.assertGreaterEqual(found['exports'], 1)


class VerdictTest(parameterized.TestCase):

  def faults(self, seconds, **changes):
    periods = soak_verdict.Periods(
        seconds=seconds, publish=30, restart=120, num_models=2
    )
    return soak_verdict.faults(_GOOD | changes, periods)

  def test_what_the_periods_imply_passes(self):
    self.assertEmpty(self.faults(900))

  @parameterized.parameters(
      ('failed', 1),
      ('mixed', 1),
      ('requests', 0),
      ('snapshots', 21),  # Of 31: 7 may meet a restart, and 2 be late.
      ('models', 1),
      ('restarts', 5),  # Of 7.
      ('exports', 0),
      ('bundles', 2),
      ('memory_ratio', 1.03),
      ('p99_ratio', 1.6),
  )
  def test_less_is_a_fault(self, name, value):
    self.assertLen(faults := self.faults(900, **{name: value}), 1)
    self.assertStartsWith(faults[0], f'{name} {value}, not ')

  def test_a_publisher_that_ended_is_a_fault(self):
    faults = self.faults(900, publisher='ended early')
    self.assertEqual(faults, ['the publisher ended early'])

  def test_a_short_soak_judges_neither_memory_nor_time(self):
    self.assertEmpty(self.faults(299, memory_ratio=1.5, p99_ratio=9, bundles=2))


if __name__ == '__main__':
  absltest.main()

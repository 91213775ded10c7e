"""A short soak; the long one is `python -m experiments.benchmark soak`."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

from absl.testing import absltest

_REPOSITORY = pathlib.Path(__file__).parents[2]


def _why_not() -> str:
  if shutil.which('redis-server') is None:
    return 'there is no redis-server'
  if len(os.sched_getaffinity(0)) < 2:
    return 'there is one core only'
  if sys.version_info >= (3, 13):
    return 'MLServer is not made for this Python'
  return ''


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


if __name__ == '__main__':
  absltest.main()

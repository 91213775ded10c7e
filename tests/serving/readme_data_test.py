"""README's examples on real logs, trained with the settings as they stand.

    LIMAML_ML100K=DIR LIMAML_KUAIRAND=DIR \
        bash launch/test.sh -m slow tests/serving/readme_data_test.py

The directories are those that README's --data_dir names.
"""

import os
import unittest

from absl.testing import absltest
import pytest

from tests.experiments import commands
from tests.serving import pages

for _module in ('mlserver', 'tritonclient'):
  pytest.importorskip(_module, reason=f'README NOT RUN: no {_module} here')


class OnData(pages.Pages):
  data = ''

  @classmethod
  def setUpClass(cls):
    if cls is OnData:
      raise unittest.SkipTest('the base of those below')
    super().setUpClass()

  @classmethod
  def write_raw(cls, directory):
    variable = f'LIMAML_{cls.data.upper()}'
    if variable not in os.environ:
      raise unittest.SkipTest(f'README NOT RUN ON {cls.data}: no {variable}')
    return os.environ[variable]

  def test_readme_asks_by_curl_and_by_both_clients(self):
    done = self.run_all(pages.section('README.md', 'Serving')[2:])
    self.assertEqual(done, {'bash': 1, 'python': 2, 'checked': 3})


@pytest.mark.slow
class Ml100kTest(OnData):
  data = 'ml100k'
  settings = (f'--config={commands.ROOT}/experiments/configs/ml100k.py',)


@pytest.mark.slow
class KuaiRandTest(OnData):
  data = 'kuairand'
  settings = (f'--config={commands.ROOT}/experiments/configs/kuairand.py',)


if __name__ == '__main__':
  absltest.main()

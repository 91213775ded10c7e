"""README.md and docs/serving.md: each command prints what stands below it.

On a small log of the names and the paths of MovieLens-100K, and a server that
the two commands of README have started.
"""

from absl.testing import absltest
import pytest

from tests.experiments import commands
from tests.serving import pages

for _module in ('mlserver', 'tritonclient'):
  pytest.importorskip(_module, reason=f'README NOT RUN: no {_module} here')


class ReadmeTest(pages.Pages):
  settings = commands.SMALL

  @classmethod
  def write_raw(cls, directory):
    commands.write_log(directory, num_users=200, num_items=302)
    return directory

  def test_readme_starts_a_server(self):
    (kind, shown), *_ = pages.section('README.md', 'Serving')[1:]
    self.check(kind, shown, self.exported)
    readme = (commands.ROOT / 'README.md').read_text()
    self.assertIn(pages.READY, ' '.join(readme.split()))

  def test_readme_asks_by_curl_and_by_both_clients(self):
    done = self.run_all(pages.section('README.md', 'Serving')[2:])
    self.assertEqual(done, {'bash': 1, 'python': 2, 'checked': 3})

  def test_the_page_says_what_clients_get(self):
    done = self.run_all(pages.section('docs/serving.md', 'For a client'))
    self.assertEqual(done, {'bash': 4, 'python': 2, 'checked': 6})


if __name__ == '__main__':
  absltest.main()

"""Refreshes by two processes, one of which is killed on the way."""

import collections
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
import pytest

from limaml_jax import cluster
from limaml_jax import errors
from limaml_jax.refresh import generate
from limaml_jax.refresh import staging as staging_lib
from limaml_jax.store import address
from limaml_jax.store import contents
from tests.refresh import small_crew
from tests.refresh import small_refresh

_ROOT = pathlib.Path(__file__).parents[2]


class CrewTest(absltest.TestCase):
  KILLS = ('1:2',)

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    cls.store = address.open_backend(str(cls.dir / 'store'))
    cls.launched = subprocess.run(
        [
            sys.executable, '-m', 'launch.local', '--num_processes=2',
            '--submit', '--grace_seconds=0.2', '--max_delay_seconds=0.1',
            '--', '-m', 'tests.refresh.small_crew', cls.dir / 'store', cls.dir,
            *cls.KILLS,
        ],
        cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    # What each process said, by name; of the attempts the last one counts.
    cls.said = collections.defaultdict(dict)
    for line in cls.launched.stdout.splitlines():
      prefix, _, text = line.partition(' ')
      if text.startswith('{'):
        fields = json.loads(text)
        cls.said[fields.pop('name')][prefix] = fields

  def results(self, name):
    assert name in self.said, self.launched.stderr[-3000:]
    return {who: fields['result'] for who, fields in self.said[name].items()}

  def assert_both(self, name, result):
    self.assertEqual(self.results(name), {'[0]': result, '[1]': result})

  def test_snapshots_are_those_of_one_process_to_the_bit(self):
    self.assert_both('full', 'published')
    self.assert_both('incremental', 'published')
    line = small_refresh.make_line(self.create_tempdir().full_path)
    directory = self.create_tempdir().full_path
    for name, cutoff, settings in small_crew.REFRESHES[:-1]:
      alone = small_refresh.refresh(line, cutoff, directory, **settings)
      with self.subTest(name):
        version = alone.manifest.version
        found = contents.load(self.store, 'user', version)
        expected = contents.load(line.refresher.store, 'user', version)
        np.testing.assert_array_equal(found.keys, expected.keys)
        np.testing.assert_array_equal(found.vectors, expected.vectors)
        np.testing.assert_array_equal(found.watermarks, expected.watermarks)
        self.assertEqual(found.manifest.checksum, alone.manifest.checksum)
        self.assertEqual(found.manifest.generator, alone.manifest.generator)

  def test_killed_goes_on_from_what_was_finished(self):
    self.assertIn('process 1 died by SIGKILL', self.launched.stderr)
    for index in range(2):
      attempts = (self.dir / f'attempts_{index}').read_text()
      self.assertLen(attempts, len(self.KILLS) + 1)
    (_, num_done, total), *_ = self.said['full']['[0]']['adapt']
    # The two parts of eight at the least.
    self.assertBetween(num_done, 16, total)

  def test_each_adapts_its_share(self):
    *_, (_, num_done, total) = [
        step for step in self.said['incremental']['[0]']['adapt']
        if step[0] == 'adapt'
    ]  # fmt: skip
    alone = self.store.manifest('user', '00000002').generator['adapted']
    self.assertEqual(num_done, total)
    self.assertBetween(total, 1, alone - 1)

  def test_published_already_is_told(self):
    self.assert_both('same', 'already published')

  def test_refused_by_the_gate_is_told_and_leaves_what_is_published(self):
    self.assert_both('refused', 'refused')
    self.assertEqual(self.store.current('user'), '00000002')
    self.assertEqual(self.store.versions('user')[-1], '00000003')

  def test_what_the_first_one_fails_of_is_told(self):
    first, second = self.results('future').values()
    self.assertEqual(first, second)
    self.assertIn('--cutoff: is 1000 s ahead', first)

  def test_a_process_of_another_model_is_refused(self):
    self.assertEqual(list(self.results('other')), ['[1]'])
    self.assertIn(
        '--workdir: process 1 finds there another content',
        self.said['other']['[1]']['result'],
    )
    self.assertEqual(self.launched.returncode, 1)


@pytest.mark.slow
class OftenKilledTest(CrewTest):
  KILLS = ('1:1', '0:1', '1:1')


class StagingTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    self.enter_context(
        mock.patch.object(cluster, '_PATIENCE_SECONDS', 0.3)
    )
    self.plan = generate.Plan(
        None, None, (generate.Part(8, np.arange(3)),)  # No more is read.
    )
    self.chunk = generate.Chunk(0, np.arange(3), np.ones((3, 2), np.float32))

  def test_a_part_of_another_process_is_collected(self):
    with staging_lib.open_job(self.dir, 'ours', now=7) as first:
      staging_lib.join_job(self.dir, 'ours').add(self.chunk)
      np.testing.assert_array_equal(
          first.collect(self.plan, {0})[0], self.chunk.vectors
      )

  def test_a_part_that_does_not_appear(self):
    with staging_lib.open_job(self.dir, 'ours', now=7) as first:
      with self.assertRaisesRegex(errors.InputError, 'parts .* share'):
        first.collect(self.plan, {0})

  def test_a_part_of_another_job_is_not_taken(self):
    with staging_lib.open_job(self.dir, 'ours', now=7) as first:
      staging_lib.Staging(self.dir, 'other', 7).add(self.chunk)
      self.assertEmpty(first.done(self.plan))

  def test_a_job_that_is_not_here(self):
    with staging_lib.open_job(self.dir, 'ours', now=7):
      for directory, job in (
          (self.dir, 'other'), (self.dir / 'nowhere', 'ours')
      ):  # fmt: skip
        with self.assertRaisesRegex(errors.InputError, 'is not here; .*share'):
          staging_lib.join_job(directory, job)


if __name__ == '__main__':
  absltest.main()

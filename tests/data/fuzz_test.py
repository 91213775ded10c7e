"""Spoiled logs, schemas and settings: prepared well, or refused in one line.

LIMAML_EXAMPLES=2000 tries so many mutants, new ones after those of the suite.
A mutant is made again by its mutation's name and its seed.
"""

import os
import pathlib
import re
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import mutations
import schema_mutations
import small_log

from limaml_jax import errors
from limaml_jax.data.tasks import items
from limaml_jax.data.tasks import task_table
from tests.experiments import commands

_MUTATIONS = mutations.FILE_MUTATIONS + schema_mutations.MUTATIONS
_NUM_MUTANTS = int(os.environ.get('LIMAML_EXAMPLES', '152'))
_SEEDS = range(-(-_NUM_MUTANTS // len(_MUTATIONS)))
_LONGEST_MESSAGE = 2000
_REMEDY = re.compile(
    r';|expected|needs|one of|give |set |mend |add |remove |rename |correct |'
    r'did you mean|is for|are for|not an SQL expression'
)
# What a message may name besides a path: a setting or a flag.
_SETTING = re.compile(r'protocol\b|data\.|--\w')


def read_files(directory):
  """Returns the bytes of every file below a directory, by path."""
  return {
      path.relative_to(directory): path.read_bytes()
      for path in sorted(directory.rglob('*')) if path.is_file()
  }


class FuzzTestCase(parameterized.TestCase):
  """Has a log that was prepared once, to be copied and spoiled."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    (cls.folder / 'whole').mkdir()
    cls.whole = small_log.SmallLog(cls.folder / 'whole')
    cls.whole.prepare()
    cls.original = read_files(cls.whole.root)

  def copy(self):
    """Returns a log that is a copy of the whole one."""
    root = self.folder / 'mutant'
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(self.whole.root, root)
    return small_log.SmallLog.at(root)

  def spoil(self, mutation, seed):
    """Returns a spoiled copy, and the settings to prepare it with."""
    log = self.copy()
    settings = mutations.spoil(log, mutation, seed)
    if not settings:
      # Else it were no mutant.
      self.assertNotEqual(read_files(log.root), self.original)
    return log, settings

  def assert_one_line(self, message, log):
    """Holds a message against what people need: a place and a remedy."""
    self.assertLen(message.splitlines(), 1, repr(message[:400]))
    self.assertTrue(
        message.replace('\t', ' ').isprintable(), repr(message[:400])
    )
    self.assertLess(len(message), _LONGEST_MESSAGE, message[:400])
    names_place = str(log.root) in message or _SETTING.search(message)
    self.assertTrue(names_place, f'names no place: {message}')
    self.assertRegex(message, _REMEDY)

  def assert_intact(self, log):
    """The dataset that was there is there; nothing lies beside it."""
    kept = {
        path: content
        for path, content in self.original.items() if path.parts[0] == 'output'
    }
    found = {
        pathlib.Path('output', path): content
        for path, content in read_files(log.output).items()
    }
    self.assertEqual(found, kept)
    task_table.load(log.output)
    names = {path.name for path in log.root.iterdir()}
    self.assertContainsSubset(names, {'output', 'raw', 'schema.toml'})


class MutantsTest(FuzzTestCase):

  @parameterized.named_parameters(
      (mutation.__name__, mutation) for mutation in _MUTATIONS
  )
  def test_mutant_of(self, mutation):
    for seed in _SEEDS:
      with self.subTest(seed=seed):
        log, settings = self.spoil(mutation, seed)
        try:
          log.prepare(**settings)
        except errors.InputError as error:
          self.assert_one_line(str(error), log)
          self.assert_intact(log)
        else:
          task_table.load(log.output)
          items.load_items(log.output)


class BinaryTest(FuzzTestCase):

  @parameterized.named_parameters(
      (mutation.__name__, mutation)
      for mutation in (
          mutations.torn, mutations.encodings, schema_mutations.torn_schema,
          schema_mutations.missing_schema,
      )
  )
  def test_fails_in_one_line_or_succeeds(self, mutation):
    for seed in range(1 + len(_SEEDS) // 8):
      with self.subTest(seed=seed):
        log, _ = self.spoil(mutation, seed)
        result = commands.run(
            'prepare',
            f'--config.data.schema={log.schema}',
            f'--data_dir={log.raw}',
            f'--output={log.output}',
        )
        if result.returncode:
          self.assertEqual(result.returncode, 1, result.stderr[-2000:])
          lines = result.stderr.splitlines()
          self.assertLen(lines, 1, result.stderr[-2000:])
          self.assertStartsWith(lines[0], 'error: ')
          self.assert_one_line(lines[0], log)
          self.assert_intact(log)
        else:
          task_table.load(log.output)


if __name__ == '__main__':
  absltest.main()

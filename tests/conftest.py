"""Lets absl's test helpers run under pytest; compiles each program once.

Tests start meta-training again and again, some in processes of their own. They
share what XLA compiled, in a folder that lives as long as the test run.
"""

import atexit
import os
import pathlib
import tempfile

from absl import flags

flags.FLAGS.mark_as_parsed()

_CACHE = tempfile.TemporaryDirectory(prefix='limaml_jax_tests_')
atexit.register(_CACHE.cleanup)
# Read when jax is imported, here and by child processes.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE.name)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')
# Most of the time goes into compiling, as arrays are tiny; this is to a third
# of it. JAX_DISABLE_MOST_OPTIMIZATIONS=0 compiles as outside of tests.
_PLAIN_FUSIONS = '--xla_cpu_use_fusion_emitters=false'
if (
    os.environ.get('JAX_PLATFORMS') == 'cpu'
    and os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1') == '1'
    and _PLAIN_FUSIONS not in os.environ.get('XLA_FLAGS', '')
):
  os.environ['XLA_FLAGS'] = (
      f'{os.environ.get("XLA_FLAGS", "")} {_PLAIN_FUSIONS}'.strip()
  )
# Tests run side by side: threads of OpenMP that wait for a core would spin.
os.environ.setdefault('OMP_NUM_THREADS', '1')

_TESTS = pathlib.Path(__file__).parent
# Begin first, lest one of them be all that is left to a single process.
_LONGEST = (
    'experiments/line_test.py',
    'meta/low_rank_test.py',
    'training/program_test.py',
    'meta/history_adaptation_test.py',
    'refresh/killed_test.py',
    'training/loop_test.py',
    'training/sharded_tables_test.py',
    'meta/objective_test.py',
    'training/announce_test.py',
    'experiments/export_test.py',
    'experiments/study_running_test.py',
    'learning_test.py',
    'experiments/refresh_test.py',
)


def pytest_collection_modifyitems(items):
  """Puts the longest files first."""
  places = {_TESTS / name: n for n, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: places.get(item.path, len(places)))

"""Lets absl's test helpers run under pytest; compiles each program once.

Tests start meta-training again and again, some in processes of their own. They
share what XLA compiled, in a folder that lives as long as the test run.
"""

import atexit
import os
import tempfile

from absl import flags

flags.FLAGS.mark_as_parsed()

_CACHE = tempfile.TemporaryDirectory(prefix='limaml_jax_tests_')
atexit.register(_CACHE.cleanup)
# Read when jax is imported, here and by child processes.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE.name)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')
# Tests run side by side: threads of OpenMP that wait for a core would spin.
os.environ.setdefault('OMP_NUM_THREADS', '1')

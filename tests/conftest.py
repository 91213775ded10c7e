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

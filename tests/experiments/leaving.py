"""Two processes, of which the second fails in some way; see `multihost_test`.

  python -m tests.experiments.leaving --how=HOW

where the first one waits for the second.
"""

from absl import flags
import jax

from experiments import multihost
from limaml_jax import cluster

_HOW = flags.DEFINE_string('how', None, 'It fails.', required=True)


def main() -> None:
  """Fails, in the second process."""
  if not cluster.is_first():
    if _HOW.value == 'bug':
      raise ValueError('a bug')
    raise jax.errors.JaxRuntimeError(f'{_HOW.value}: told by jax')
  cluster.wait_for_all('never')


if __name__ == '__main__':
  multihost.run(main, notes_sigterm=False)

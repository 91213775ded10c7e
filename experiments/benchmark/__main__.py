"""Times what users pay for, and prints a JSON line for each figure.

    python -m experiments.benchmark inner_loop --help
"""

from absl import flags

from experiments import binary
from experiments.benchmark import collectives
from experiments.benchmark import inner_loop
from experiments.benchmark import preparation
from experiments.benchmark import refreshing
from experiments.benchmark import scaling
from experiments.benchmark import serving
from experiments.benchmark import soak
from experiments.benchmark import store
from experiments.benchmark import table

flags.adopt_module_key_flags(binary)
flags.adopt_module_key_flags(collectives)
flags.adopt_module_key_flags(inner_loop)
flags.adopt_module_key_flags(preparation)
flags.adopt_module_key_flags(refreshing)
flags.adopt_module_key_flags(scaling)
flags.adopt_module_key_flags(serving)
flags.adopt_module_key_flags(soak)
flags.adopt_module_key_flags(store)
flags.adopt_module_key_flags(table)

if __name__ == '__main__':
  binary.run_subject({
      'collectives': collectives.main,
      'inner_loop': inner_loop.main,
      'prepare': preparation.main,
      'refresh': refreshing.main,
      'scaling': scaling.main,
      'serve': serving.main,
      'soak': soak.main,
      'store': store.main,
      'table': table.main,
  })

"""Starts runs of `cluster_run`, waits for them, and reads what they left."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import jax

from limaml_jax import cluster
from limaml_jax import config as config_lib
from limaml_jax import overrides
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import run_config
from tests.training import cluster_run

REPOSITORY = pathlib.Path(__file__).parents[2]
_PATIENCE_SECONDS = 180


def start(num_devices, place=(), **arguments):
  """Starts one process; `place` is the address, their count, its number."""
  environment = {
      'JAX_NUM_CPU_DEVICES': str(num_devices),
      'JAX_PLATFORMS': 'cpu',
  }
  environment |= {
      name: str(value)
      for name, value in zip(cluster.VARIABLES, place, strict=False)
  }
  return subprocess.Popen(
      [
          sys.executable,
          '-m',
          'tests.training.cluster_run',
          json.dumps(arguments, default=str),
      ],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=REPOSITORY,
      env=os.environ | environment,
  )


def start_cluster(num_processes, num_devices, **arguments):
  with socket.create_server(('127.0.0.1', 0)) as listener:
    address = f'127.0.0.1:{listener.getsockname()[1]}'
  return [
      start(num_devices, (address, num_processes, index), **arguments)
      for index in range(num_processes)
  ]


def finish(processes):
  """Waits for all; returns what each printed last, which is its last step."""
  steps = []
  for process in processes:
    out, err = process.communicate(timeout=_PATIENCE_SECONDS)
    assert process.returncode == 0, err[-3000:]
    steps.append(int(out.split()[-1]))
  return steps


def restore(workdir):
  """Returns the newest state of a run, on the one device here."""
  _, info = cluster_run.make_data()
  settings = run_config.read_settings(workdir) | {'training.mesh_rows': 1}
  config = overrides.override(config_lib.Config(), settings)
  assembly = assembly_lib.assemble(config, info, mesh_rows=1)
  abstract = assembly_lib.abstract_state(config, assembly)
  with checkpoint.Checkpoints(workdir) as checkpoints:
    return jax.device_get(checkpoints.restore_newest(abstract))


def episodes_of(*files):
  """Returns the episodes that processes were given, by step."""
  given = {}
  for file in files:
    for line in file.read_text().splitlines():
      step, identity, _ = json.loads(line)
      given.setdefault(step, []).extend(identity)
  return given

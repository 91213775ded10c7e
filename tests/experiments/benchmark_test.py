"""The benchmark's lines, from its binary, on a few tasks."""

import json
import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import pytest

from experiments.benchmark import cases
from limaml_jax import config as config_lib
from tests.experiments import commands

_KEYS = (
    'case', 'implementation', 'order', 'num_tasks', 'support', 'query',
    'num_steps', 'step_ms_median', 'step_ms_min', 'temp_bytes', 'tasks_per_s',
    'gflops_per_s', 'gemm_peak_gflops_per_s',
)  # fmt: skip


class BenchmarkTest(absltest.TestCase):

  @pytest.mark.slow
  def test_prints_a_line_for_each_implementation_and_number_of_steps(self):
    result = commands.run(
        'benchmark',
        'inner_loop',
        '--cases=kuairand',
        '--num_steps=1,2',
        '--num_tasks=8',
        '--repeats=1',
        '--compilation_cache=',
    )
    self.assertEqual(result.returncode, 0, result.stderr[-3000:])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    for record in records:
      self.assertContainsSubset(_KEYS, record)
      self.assertGreater(record['step_ms_median'], 0)
      self.assertLessEqual(record['step_ms_min'], record['step_ms_median'])
      self.assertGreater(record['temp_bytes'], 0)
    found = [
        (r['implementation'], r['order'], r['num_steps']) for r in records
    ]
    self.assertEqual(
        found,
        [
            ('plain', 'second', 1),
            ('plain', 'second', 2),
            ('low_rank', 'second', 1),
            ('low_rank', 'second', 2),
            ('auto', 'second', 1),
            ('auto', 'second', 2),
            ('joint_per_task', 'joint', 0),
            ('joint_per_sample', 'joint', 0),
            ('auto', 'generation', 1),
            ('auto', 'generation', 2),
        ],
    )

  @pytest.mark.slow
  def test_prepares_beside_a_bare_sort(self):
    log = self.create_tempdir().full_path
    made = commands.run(
        'generate_log', f'--output={log}/log', '--rows=3000', '--entities=200'
    )
    self.assertEqual(made.returncode, 0, made.stderr[-3000:])
    result = commands.run('benchmark', 'prepare', f'--log={log}/log')
    self.assertEqual(result.returncode, 0, result.stderr[-3000:])
    record = json.loads(result.stdout)
    self.assertEqual(record['rows'], 3000)
    self.assertEqual(record['features'], 14)  # Twelve, and the two keys.
    self.assertGreater(record['peak_bytes'], 10**7)
    self.assertGreater(record['sort_and_write_s'], 0)
    # Nothing is left beside the log.
    self.assertEqual(os.listdir(log), ['log'])

  @pytest.mark.slow
  def test_what_a_step_holds_does_not_grow_with_the_table(self):
    result = commands.run(
        'benchmark',
        'table',
        '--rows=5000,50000',
        '--table_tasks=8',
        '--table_repeats=1',
        '--compilation_cache=',
    )
    self.assertEqual(result.returncode, 0, result.stderr[-3000:])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    numbers_of_state = {'adam': 2 * 16, 'row_wise_adagrad': 1}
    self.assertEqual(
        [(r['table_optimizer'], r['rows']) for r in records],
        [(name, n) for name in numbers_of_state for n in (5000, 50000)],
    )
    for small, large in (records[:2], records[2:]):
      self.assertGreater(small['step_ms_median'], 0)
      self.assertLess(large['temp_bytes'], small['temp_bytes'] + 50000)
      grown = large['state_bytes'] - small['state_bytes']
      numbers = numbers_of_state[large['table_optimizer']]
      self.assertEqual(grown, 45000 * numbers * 4)

  def test_needs_no_extra_where_it_times_none(self):
    code = """
import runpy, sys
for extra in ('mlserver', 'grpc', 'redis', 'pyspark', 'feast'):
  sys.modules[extra] = None  # Which refuses to be imported.
sys.argv = ['benchmark', 'serve']
runpy.run_module('experiments.benchmark', run_name='__main__')
"""
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=commands.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    self.assertEqual(result.returncode, 1)
    (line,) = result.stderr.strip().splitlines()
    self.assertIn("MLServer is not installed; pip install '.[serving]'", line)

  @pytest.mark.slow
  def test_bad_arguments_are_one_line(self):
    for arguments, message in (
        ((), 'expected as arguments "inner_loop" or "prepare" or "refresh" or'),
        (('outer_loop',), 'not outer_loop'),
        (('prepare',), '--log: say where the log is'),
        (('table', '--rows=1'), '--rows=1: must be whole numbers above 1'),
        (('inner_loop', '--cases=none'), 'no case none; choose from reference'),
        (('inner_loop', '--num_steps=x'), '--num_steps=x: must be whole'),
        (('inner_loop', '--implementations=fast'), 'there is no fast'),
        (
            ('inner_loop', '--cases=kuairand', '--num_tasks=2', '--num_steps=1',
             '--repeats=1', '--implementations=auto', '--peer=torch',
             '--peer_python=/bin/false'),
            '/bin/false could not run it',
        ),
    ):
      with self.subTest(arguments):
        result = commands.run('benchmark', *arguments)
        self.assertEqual(result.returncode, 1)
        lines = result.stderr.strip().splitlines()
        self.assertLen(lines, 1, result.stderr)
        self.assertIn(message, lines[0])


@pytest.mark.slow
class CasesTest(parameterized.TestCase):

  @parameterized.parameters(*(case.name for case in cases.CASES))
  def test_implementations_take_the_same_step(self, name):
    (case,) = (c for c in cases.CASES if c.name == name)
    small = cases.Case(
        **{**vars(case), 'num_tasks': 4, 'meta_widths': (16, 8)}
    )
    params = cases.make_params(small)
    batch = cases.make_batch(small)
    outcomes = []
    for implementation in ('plain', 'low_rank'):
      config = config_lib.InnerLoopConfig(
          num_steps=2, learning_rate=0.1, implementation=implementation
      )
      loss = cases.make_meta_loss(small, config)
      step = jax.jit(jax.value_and_grad(loss, has_aux=True))
      outcomes.append(step(params, batch))
    chex.assert_trees_all_close(*outcomes, rtol=1e-4, atol=1e-6)


if __name__ == '__main__':
  absltest.main()

"""The whole line through its binaries, each a process of its own."""

import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest

from limaml_jax.data import dataset
from limaml_jax.data.tasks import encoding
from limaml_jax.training import writers
from tests.experiments import commands


class LineTest(absltest.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.dir = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.dir)
    commands.write_log(cls.dir / 'raw')
    cls.tasks = f'--data={cls.dir / "tasks"}'
    cls.run_dir = f'--workdir={cls.dir / "limaml"}'
    cls.run_ok(
        'prepare',
        f'--data_dir={cls.dir / "raw"}',
        f'--output={cls.dir / "tasks"}',
        *commands.SMALL,
    )
    flags = (cls.tasks, cls.run_dir, *commands.SMALL)
    cls.stopped = cls.run_ok('train', *flags, '--stop_after=2')
    cls.resumed = cls.run_ok('train', *flags)
    cls.run_ok('refresh', cls.tasks, cls.run_dir)
    cls.bundle = f'--bundle={cls.dir / "bundle"}'
    cls.run_ok('export', cls.tasks, cls.run_dir, cls.bundle)

  @classmethod
  def run_ok(cls, verb, *flags):
    result = commands.run(verb, commands.CACHE, *flags)
    if result.returncode:
      raise AssertionError(result.stderr[-3000:])
    return result

  def test_train_says_which_order_ran_and_resumes(self):
    self.assertIn('2 outer steps; second order', self.stopped.stdout)
    self.assertIn('second order (exact meta-gradient)', self.stopped.stderr)
    steps = sorted(
        int(path.name)
        for path in (self.dir / 'limaml' / 'checkpoints').iterdir()
    )
    self.assertEqual(steps[0], 2)
    self.assertIn(f'{steps[-1]} outer steps; second', self.resumed.stdout)
    records = writers.read_metrics(self.dir / 'limaml')
    self.assertEqual(
        [r['step'] for r in records], sorted({r['step'] for r in records})
    )

  def test_training_keeps_the_encoding(self):
    kept = encoding.load(self.dir / 'limaml' / 'encoding')
    info = dataset.load_info(self.dir / 'tasks')
    self.assertEqual(kept.fingerprint, info.encoding)

  def test_score_reads_what_refresh_published(self):
    result = self.run_ok(
        'score', self.bundle, '--entity=7', '--candidates=3,4,99'
    )
    self.assertIn('user 7: PRESENT', result.stdout)
    self.assertIn('99', result.stdout)

  def test_an_ensemble_goes_the_whole_line(self):
    run_dir = f'--workdir={self.dir / "ensemble"}'
    bundle = f'--bundle={self.dir / "ensemble_bundle"}'
    self.run_ok(
        'train', self.tasks, run_dir, *commands.SMALL,
        '--config.model.ensemble_size=3',
    )  # fmt: skip
    self.run_ok('refresh', self.tasks, run_dir)
    self.run_ok('export', self.tasks, run_dir, bundle)
    ask = ('--entity=7', '--candidates=3,4,99')
    self.assertIn('user 7: PRESENT', self.run_ok('score', bundle, *ask).stdout)
    three, one = (
        {row['stored']: row['bytes'] for row in self.read_storage(place)}
        for place in (run_dir, self.run_dir)
    )
    extra = one['float32'] - 4 * 4  # Of a record, beside four numbers.
    self.assertEqual(three['float32'], 3 * 4 * 4 + extra)
    for stored in one:
      if 'weights' in stored or 'factors' in stored:
        self.assertEqual(three[stored], 3 * one[stored])

  def read_storage(self, run_dir):
    result = self.run_ok('storage', self.tasks, run_dir, '--json')
    return [json.loads(line) for line in result.stdout.splitlines()]

  def test_an_unknown_entity_is_no_error(self):
    result = self.run_ok(
        'score', self.bundle, '--entity=nobody', '--candidates=3'
    )
    self.assertIn('user nobody: MISSING', result.stdout)

  def test_evaluate_leaves_the_served_quality(self):
    self.run_ok('evaluate', self.tasks, self.run_dir)
    path = self.dir / 'limaml' / 'evaluation.json'
    evaluation = json.loads(path.read_text())
    self.assertBetween(evaluation['roc_auc'], 0.0, 1.0)
    self.assertEqual(
        sum(c['num_rows'] for c in evaluation['cohorts'].values()),
        evaluation['num_rows'],
    )

  def test_a_bad_flag_is_one_line(self):
    cases = (
        ('train', '--config.outer_loop.epochs=3', 'no such setting; did you'),
        ('train', '--config.outer_loop.num_epochs=x', 'invalid literal'),
        ('train', '--config=nowhere.py', 'no such file'),
        ('train', '--variant=best', 'choose one of'),
        ('refresh', '--cutoff=yesterday', 'not an ISO time'),
        ('score', '--context=mood=good', 'unknown feature mood'),
    )
    for verb, flag, message in cases:
      with self.subTest(flag):
        if verb == 'score':
          place = (self.bundle, '--entity=7', '--candidates=3')
        else:
          place = (self.tasks, self.run_dir)
        result = commands.run(verb, commands.CACHE, *place, flag)
        self.assertEqual(result.returncode, 1)
        lines = result.stderr.strip().splitlines()
        self.assertLen(lines, 1, result.stderr)
        self.assertStartsWith(lines[0], 'error: ')
        self.assertIn(message, lines[0])

  def test_a_bad_log_is_one_line_and_leaves_the_dataset(self):
    raw = self.dir / 'bad'
    commands.write_log(raw)
    with (raw / 'ml-100k.inter').open('a') as log:
      log.write('1\t2\tfive\t880000000\n')
    dataset_file = self.dir / 'tasks' / 'dataset.json'
    before = dataset_file.read_bytes()
    result = commands.run(
        'prepare',
        f'--data_dir={raw}',
        f'--output={self.dir / "tasks"}',
        '--max_reject_fraction=0',
    )
    self.assertEqual(result.returncode, 1)
    last = result.stderr.strip().splitlines()[-1]
    self.assertStartsWith(last, 'error: ')
    self.assertIn('ml-100k.inter: line ', last)
    self.assertIn("'five'", last)
    self.assertNotIn('Traceback', result.stderr)
    self.assertEqual(dataset_file.read_bytes(), before)


class CompareTest(absltest.TestCase):

  def test_writes_summary_and_report_and_reuses_them(self):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    commands.write_log(workdir / 'raw')
    flags = (
        f'--data_dir={workdir / "raw"}',
        f'--workdir={workdir / "run"}',
        commands.CACHE,
        '--config.protocol.new_entity_fraction=0.3',
        *commands.SMALL,
    )
    result = commands.run('compare', *flags)
    self.assertEqual(result.returncode, 0, result.stderr[-3000:])
    summary = json.loads((workdir / 'run' / 'summary.json').read_text())
    self.assertCountEqual(
        summary['variants'],
        ['item_prior', 'user_bias', 'global', 'wide_deep_id', 'unadapted',
         'first_order', 'limaml'],
    )  # fmt: skip
    for variant in summary['variants'].values():
      self.assertContainsSubset(
          ['roc_auc', 'gauc', 'gauc_by_refresh', 'normalized_entropy',
           'log_loss', 'cohorts'],
          variant,
      )
      self.assertCountEqual(variant['cohorts'], ['0', '1-5', '6-20', '21+'])
    cohorts = summary['variants']['limaml']['cohorts']
    self.assertGreater(cohorts['0']['num_rows'], 0)
    scores = workdir / 'run' / 'limaml' / 'seed_0' / 'scores_limaml.parquet'
    made = scores.stat().st_mtime_ns
    self.assertIn('<svg', (workdir / 'run' / 'report.html').read_text())

    again = commands.run('compare', *flags)
    self.assertEqual(again.returncode, 0, again.stderr[-3000:])
    summary_again = json.loads((workdir / 'run' / 'summary.json').read_text())
    self.assertEqual(summary_again['variants'], summary['variants'])
    self.assertEqual(scores.stat().st_mtime_ns, made)


if __name__ == '__main__':
  absltest.main()

import dataclasses
import json
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax

from limaml_jax import errors
from limaml_jax.blocks import encoder
from limaml_jax.training import assembly as assembly_lib
from limaml_jax.training import checkpoint
from limaml_jax.training import mesh
from limaml_jax.training import run_config
from limaml_jax.training import writers
from tests.training import small_run


class ConfigFileTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path) / 'run'
    self.config = small_run.make_config()
    _, self.info = small_run.make_data()
    run_config.settle(self.workdir, self.config, self.info)

  def test_same_settings_are_accepted_again(self):
    run_config.settle(self.workdir, self.config, self.info)

  def test_settings_newer_than_the_run_are_at_their_defaults(self):
    path = self.workdir / run_config.CONFIG_FILE
    settings = json.loads(path.read_text())
    del settings['outer_loop.holdout_fraction']
    path.write_text(json.dumps(settings))
    run_config.settle(self.workdir, self.config, self.info)
    other = small_run.make_config(outer_loop__holdout_fraction=0.1)
    with self.assertRaisesRegex(errors.InputError, 'was 0.0, is 0.1'):
      run_config.settle(self.workdir, other, self.info)

  def test_run_goes_on_on_another_mesh(self):
    other = small_run.make_config(
        training__mesh_rows=4, training__memory_budget_bytes=10**9
    )
    run_config.settle(self.workdir, other, self.info)
    self.assertEqual(
        run_config.load(self.workdir, self.info).training.mesh_rows, 1
    )

  def test_large_tables_of_before_their_rows_were_dealt_are_refused(self):
    path = self.workdir / run_config.CONFIG_FILE
    settings = json.loads(path.read_text())
    del settings['table layout']
    path.write_text(json.dumps(settings))
    run_config.settle(self.workdir, self.config, self.info)
    first, *others = self.info.features
    large = dataclasses.replace(first, num_rows=encoder.MANY_ROWS + 1)
    info = dataclasses.replace(self.info, features=(large, *others))
    with self.assertRaisesRegex(errors.InputError, 'in another order; train'):
      run_config.load(self.workdir, info)
    with self.assertRaisesRegex(errors.InputError, 'table layout was None'):
      run_config.settle(self.workdir, self.config, info)

  def test_load_returns_what_was_settled(self):
    found = run_config.load(self.workdir, self.info)
    self.assertEqual(found, self.config)

  def test_every_difference_is_named(self):
    other = small_run.make_config(
        training__seed=7, model__meta_block__widths=(5,)
    )
    with self.assertRaisesRegex(
        errors.InputError,
        r'model\.meta_block\.widths was \[4\], is \[5\]; '
        r'training\.seed was 0, is 7\. ',
    ):
      run_config.settle(self.workdir, other, self.info)

  def test_other_contents_are_refused_to_resume_but_not_to_load(self):
    grown = dataclasses.replace(self.info, fingerprint='grown')
    with self.assertRaisesRegex(
        errors.InputError,
        "dataset fingerprint was 'synthetic', is 'grown'. Choose another",
    ):
      run_config.settle(self.workdir, self.config, grown)
    self.assertEqual(run_config.load(self.workdir, grown), self.config)

  def test_another_encoding_is_refused_with_a_remedy(self):
    refitted = dataclasses.replace(self.info, encoding='refitted')
    with self.assertRaisesRegex(
        errors.InputError,
        'of encoding synthetic, and --data is of encoding refitted.*'
        '--encoding_of=DIR',
    ):
      run_config.load(self.workdir, refitted)
    with self.assertRaisesRegex(errors.InputError, 'dataset encoding was'):
      run_config.settle(self.workdir, self.config, refitted)

  def test_a_run_that_names_no_encoding_is_refused(self):
    path = self.workdir / run_config.CONFIG_FILE
    settings = json.loads(path.read_text())
    del settings['dataset encoding']
    path.write_text(json.dumps(settings))
    with self.assertRaisesRegex(errors.InputError, 'of encoding None'):
      run_config.load(self.workdir, self.info)

  def test_load_refuses_an_absent_run(self):
    with self.assertRaisesRegex(errors.InputError, 'not found'):
      run_config.load(self.workdir / 'absent', self.info)

  def test_restore_refuses_a_run_without_checkpoint(self):
    with checkpoint.Checkpoints(self.workdir) as checkpoints:
      with self.assertRaisesRegex(errors.InputError, 'no checkpoint'):
        checkpoints.restore_served(None)


class ShapesTest(absltest.TestCase):

  def test_a_network_of_another_shape_is_refused(self):
    # Tables may have other padding; all else is what it was.
    workdir = pathlib.Path(self.create_tempdir().full_path)
    small_run.train(workdir, stop_after=1)
    _, info = small_run.make_data()
    config = small_run.make_config(model__global_block__widths=(5,))
    assembly = assembly_lib.assemble(config, info)
    abstract = assembly_lib.abstract_state(config, assembly)
    with checkpoint.Checkpoints(workdir) as checkpoints:
      with self.assertRaisesRegex(
          errors.InputError, r'bias is of shape \(4,\), not \(5,\)'
      ):
        checkpoints.restore_newest(abstract)
      with self.assertRaisesRegex(errors.InputError, 'is of shape'):
        checkpoints.restore_params(abstract.params)


class MetricWriterTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path)
    with writers.MetricWriter(self.workdir, resume_step=0) as writer:
      for step in (1, 2, 3):
        writer.write(step, 0.5 * step, {'meta_loss': 10.0 * step})

  def read(self):
    records = writers.read_metrics(self.workdir)
    return [(r['step'], r['wall_s'], r['meta_loss']) for r in records]

  def test_records_are_read_back(self):
    self.assertEqual(
        self.read(), [(1, 0.5, 10.0), (2, 1.0, 20.0), (3, 1.5, 30.0)]
    )

  def test_resumed_run_drops_the_records_after_its_checkpoint(self):
    with writers.MetricWriter(self.workdir, resume_step=2) as writer:
      writer.write(3, 9.0, {'meta_loss': 31.0})
    self.assertEqual(
        self.read(), [(1, 0.5, 10.0), (2, 1.0, 20.0), (3, 10.0, 31.0)]
    )

  def test_torn_last_line_is_left_out(self):
    with (self.workdir / writers.METRICS_FILE).open('a') as file:
      file.write('{"step": 4, "wall')
    self.assertLen(self.read(), 3)

  def test_absent_file_has_no_records(self):
    self.assertEmpty(writers.read_metrics(self.workdir / 'absent'))


class MeshTest(parameterized.TestCase):

  @parameterized.parameters((8, 4), (4, 4), (3, 1))
  def test_tasks_that_devices_can_share_are_accepted(self, tasks, devices):
    mesh.check_divides(
        tasks, jax.sharding.AbstractMesh((devices, 1), ('tasks', 'rows'))
    )

  def test_tasks_that_devices_cannot_share_are_refused(self):
    devices = jax.sharding.AbstractMesh((4, 1), ('tasks', 'rows'))
    with self.assertRaisesRegex(errors.InputError, 'tasks_per_step is 6'):
      mesh.check_divides(6, devices)

  @parameterized.parameters(0, -1, 1000)
  def test_mesh_rows_that_do_not_divide_the_devices_are_refused(self, rows):
    with self.assertRaisesRegex(errors.InputError, f'mesh_rows is {rows}'):
      mesh.make_mesh(rows)


if __name__ == '__main__':
  absltest.main()

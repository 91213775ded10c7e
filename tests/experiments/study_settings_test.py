"""What a study is made of: its settings, baselines, datasets, and pages."""

import pathlib

from absl.testing import absltest
from absl.testing import parameterized

from experiments import pipeline
from experiments.baselines import registry
from experiments.studies import baselines as baselines_study
from experiments.study import datasets as datasets_lib
from experiments.study import run as run_lib
from experiments.study import scorers
from experiments.study import settings as settings_lib
from experiments.study import writing
from limaml_jax import errors
from limaml_jax.data.log import schema_file
from tests.experiments import commands

_RUN = run_lib.Run('limaml')


class WithRolesTest(absltest.TestCase):

  def test_changes_the_named_feature_alone(self):
    schema = schema_file.load(pipeline.schema_path('ml100k'))
    changed = datasets_lib.with_roles(schema, {'genres': 'both'})
    self.assertEqual(
        [
            (one.name, other.role)
            for one, other in zip(
                schema.features, changed.features, strict=True
            )
            if one != other
        ],
        [('genres', 'both')],
    )
    self.assertEqual(datasets_lib.with_roles(schema, {}), schema)

  def test_refuses_an_unknown_feature_or_role(self):
    schema = schema_file.load(pipeline.schema_path('ml100k'))
    for roles in ({'x': 'meta'}, {'genres': 'local'}):
      with self.assertRaisesRegex(errors.InputError, 'mend the study'):
        datasets_lib.with_roles(schema, roles)


class DatasetsTest(absltest.TestCase):

  def test_a_schema_on_a_base_is_prepared_and_known_by_its_contents(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    commands.write_log(directory / 'raw')
    base, schema = directory / 'base.toml', directory / 'rates.toml'
    base.write_text(pipeline.schema_path('ml100k').read_text())
    schema.write_text(
        'base = "base.toml"\n[[features]]\nname = "item_rate"\n'
        'kind = "past_rate"\nrole = "global"\nof = ["item_id"]\n'
    )
    datasets = datasets_lib.Datasets(directory, directory / 'raw')
    settings = settings_lib.load('ml100k', {'data.schema': str(schema)})
    config = settings.resolve(_RUN)
    data = datasets.get(config, {'genres': 'both'})
    roles = {spec.name: spec.role for spec in data.info.features}
    self.assertEqual(roles['genres'], 'both')
    self.assertEqual(roles['item_rate'], 'global')
    self.assertIs(datasets.get(config, {'genres': 'both'}), data)
    base.write_text(
        base.read_text().replace('max_values = 6', 'max_values = 5')
    )
    other = datasets.get(config, {'genres': 'both'})
    self.assertNotEqual(other.directory, data.directory)

  def test_without_raw_files_only_what_is_prepared_is_found(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    settings = settings_lib.load('ml100k', {})
    config = settings.resolve(_RUN)
    message = 'ml100k is not prepared.*pass --data_dir'
    with self.assertRaisesRegex(errors.InputError, message):
      datasets_lib.Datasets(directory, None).get(config, {})


class SettingsTest(parameterized.TestCase):

  def test_a_run_beats_the_command_line_and_that_the_file(self):
    given = {'inner_loop.num_steps': 7, 'outer_loop.num_epochs': 9}
    settings = settings_lib.load('kuairand', given)
    run = _RUN._replace(settings={'inner_loop.num_steps': 3})
    config = settings.resolve(run, seed=5)
    self.assertEqual(config.inner_loop.num_steps, 3)
    self.assertEqual(config.outer_loop.num_epochs, 9)
    self.assertEqual(config.outer_loop.weight_decay, 0.01)  # Tuned: limaml.
    self.assertEqual(config.training.seed, 5)

  @parameterized.parameters(
      ('daily_ids', 'wide_deep_id'),
      ('last_layer', 'global'),
      ('trees', 'limaml'),
      ('unadapted', 'limaml'),
  )
  def test_a_baseline_takes_the_settings_it_was_tuned_with(
      self, name, variant
  ):
    settings = settings_lib.load('kuairand', {})
    one, other = (
        settings.resolve(run_lib.Run('', variant=v)) for v in (name, variant)
    )
    self.assertEqual(one, other)
    limaml = settings.resolve(run_lib.Run(''))
    self.assertEqual(one == limaml, variant == 'limaml')

  def test_every_other_of_the_baselines_is_there(self):
    for name in baselines_study.OTHERS:
      self.assertIs(scorers.find_baseline(name), registry.REGISTRY[name])

  def test_an_unknown_configuration_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, 'choose one of .*kuairand'):
      settings_lib.load('kuairant', {})

  def test_an_unknown_study_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, 'choose one of baselines'):
      settings_lib.load_study('nothing')

  def test_a_configuration_of_ones_own_has_a_folder_of_its_own(self):
    source = pathlib.Path(run_lib.__file__).parents[1] / 'configs/ml100k.py'
    own = pathlib.Path(self.create_tempdir().full_path) / 'ml100k.py'
    own.write_text(source.read_text())
    labels = [
        settings_lib.load(str(path), {}).label for path in (source, own)
    ]
    self.assertEqual(labels[0], 'ml100k')
    self.assertRegex(labels[1], '^ml100k-[0-9a-f]{8}$')

  def test_overrides_have_a_folder_of_their_own(self):
    labels = [
        settings_lib.load('ml100k', given).label
        for given in ({}, {'training.seed': 1}, {'training.seed': 2})
    ]
    self.assertEqual(labels[0], 'ml100k')
    self.assertLen(set(labels), 3)


class ReadAllTest(absltest.TestCase):

  def test_a_workdir_without_studies_is_refused(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    with self.assertRaisesRegex(errors.InputError, 'holds no study'):
      writing.read_all(directory)

  def test_a_torn_study_is_refused(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    (directory / 'x').mkdir()
    (directory / 'x' / writing.STUDY_FILE).write_text('{')
    with self.assertRaisesRegex(errors.InputError, 'torn, or of another'):
      writing.read_all(directory)


if __name__ == '__main__':
  absltest.main()

"""A run of a study reads embeddings of another one, trained under its seed."""

import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments import pipeline
from experiments.studies import entity_types
from experiments.study import datasets as datasets_lib
from experiments.study import inputs as inputs_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import running
from experiments.study import settings as settings_lib
from experiments.study import writing
from limaml_jax import errors
from limaml_jax.evaluation import replay
from tests.experiments import commands
from tests.experiments import films

_GIVEN = commands.SMALL_SETTINGS | {
    'model.meta_block.kind': 'mlp',
    'refresh.entities_per_chunk': 64,
    'episodes.num_support_buckets': 1,
    'inner_loop.num_steps': 0,  # Compiled soon; nothing here is about steps.
    'data.min_count': 12,  # So that some films are not in the vocabulary.
    'protocol.new_entity_fraction': 0.0,
    'protocol.split': 'by_time',
    'protocol.train_end': '1997-11-20T20:00:00+00:00',
    'protocol.test_end': '1997-11-21T20:00:00+00:00',
    'protocol.refresh_hours': 4,
}


class EntityTypesTest(absltest.TestCase):

  def test_each_seed_has_embeddings_of_its_own_and_they_are_kept(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    commands.write_log(directory / 'raw', gap_seconds=3600)
    schema = directory / 'films.toml'
    schema.write_text(films.SCHEMA)
    other = run_lib.Run(
        'films',
        settings={'data.schema': str(schema), 'data.task_entity': 'film'},
    )
    runs = [run_lib.Run('users'), run_lib.Run('both', embeddings_of=other)]
    inputs = inputs_lib.Inputs(
        settings_lib.load('ml100k', _GIVEN),
        datasets_lib.Datasets(directory, directory / 'raw'),
        directory,
    )
    outcomes = running.run_all(runs, [0], inputs=inputs)
    for part in outcomes['users'] + outcomes['both']:
      self.assertEqual(part.reason, '')
    _, first = inputs.make(runs[1], 0)
    _, second = inputs.make(runs[1], 1)
    self.assertNotEqual(first.info.fingerprint, second.info.fingerprint)
    names = {spec.name for spec in first.info.features}
    self.assertContainsSubset({'film_embedding_0', 'film_embedding_3'}, names)
    users, both = outcomes['users'][0].scores, outcomes['both'][0].scores
    np.testing.assert_array_equal(users.entity, both.entity)
    self.assertFalse(np.array_equal(users.score, both.score))
    self.check_item_history(inputs, outcomes)
    # Raw files that were moved are found where they are now.
    (directory / 'raw').rename(directory / 'moved')
    moved = inputs._replace(
        datasets=datasets_lib.Datasets(directory, directory / 'moved')
    )
    _, found = moved.make(runs[1], 0)
    self.assertEqual(found.info.fingerprint, first.info.fingerprint)
    facts = dict.fromkeys(('title', 'question', 'command'), '')
    facts |= {'refused': [], 'seeds': [0]}
    written = writing.write(directory / 'page', facts, outcomes, None)
    self.assertEqual(
        [part['embeddings_of'] for part in written['runs']],
        [None, dict(other.settings)],
    )
    # All is there: another call needs no raw files, and trains nothing.
    shutil.rmtree(directory / 'moved')
    kept = inputs._replace(datasets=datasets_lib.Datasets(directory, None))
    with mock.patch.object(pipeline, 'train', side_effect=AssertionError):
      again = running.run_all(runs, [0], inputs=kept)
    for before, after in zip(outcomes['both'], again['both'], strict=True):
      self.assertEqual(before.key, after.key)
      self.assertEqual(after.reason, '')

  def test_refuses_other_data_and_entities_with_cutoffs_of_their_own(self):
    for data, given, message in (
        ('kuairand_rates', {}, 'adapts the videos of kuairand'),
        ('kuairand', {'protocol.refresh_hours': 0}, 'refresh_hours'),
    ):
      config = settings_lib.load(data, given).resolve(run_lib.Run(''))
      with self.assertRaisesRegex(errors.InputError, message):
        entity_types.runs(config)

  def check_item_history(self, inputs, outcomes):
    """Counts each item's earlier events one by one."""
    _, data = inputs.make(run_lib.Run('users'), 0)
    results = results_lib.Results(
        None, outcomes, lambda run: inputs.make(run, 0)[1]
    )
    found = results.item_history('users')
    table = data.table
    items = table.event_features['item_id']
    rows = replay.test_rows(table, data.info)
    order = np.argsort(rows.day, kind='stable')
    self.assertEqual(found.size, order.size)
    self.assertGreater(len(set(found.tolist())), 3)
    self.assertIn(-1, found)
    for count, event, day in zip(
        found, rows.event[order], rows.day[order], strict=True
    ):
      before = table.timestamps < data.info.cutoffs[day]
      alike = np.sum(before & (items == items[event]))
      self.assertEqual(count, alike if items[event] else -1)


if __name__ == '__main__':
  absltest.main()

"""Runs of a study with other refreshes score the rows of the others."""

import pathlib

from absl.testing import absltest
import numpy as np
import pytest

from experiments.study import datasets as datasets_lib
from experiments.study import inputs as inputs_lib
from experiments.study import run as run_lib
from experiments.study import running
from experiments.study import settings as settings_lib
from tests.experiments import commands


class ByTimeTest(absltest.TestCase):

  @pytest.mark.slow
  def test_an_earlier_network_and_older_embeddings_score_the_same_rows(self):
    directory = pathlib.Path(self.create_tempdir().full_path)
    # A day and a half from 1997-11-20T04:26:40.
    commands.write_log(directory / 'raw', gap_seconds=3600)
    given = commands.SMALL_SETTINGS | {
        'protocol.new_entity_fraction': 0.0,
        'protocol.split': 'by_time',
        'protocol.train_end': '1997-11-20T20:00:00+00:00',
        'protocol.test_end': '1997-11-21T20:00:00+00:00',
        'protocol.refresh_hours': 4,
    }
    runs = [
        run_lib.Run('fresh'),
        run_lib.Run('old', options={'delay_hours': 8}),
        run_lib.Run('often', options={'hours': 2}),
        run_lib.Run(
            'earlier',
            settings={'protocol.train_end': '1997-11-20T16:00:00+00:00'},
            options={'skip': 1},
        ),
        run_lib.Run('item_prior', variant='item_prior'),
    ]
    inputs = inputs_lib.Inputs(
        settings_lib.load('ml100k', given),
        datasets_lib.Datasets(directory, directory / 'raw'),
        directory,
    )
    outcomes = running.run_all(runs, [0], inputs=inputs)
    fresh = outcomes['fresh'][0].scores
    self.assertGreater(fresh.entity.size, 20)
    for label in ('old', 'often', 'earlier', 'item_prior'):
      part = outcomes[label][0]
      self.assertEqual(part.reason, '', label)
      for name in ('entity', 'day', 'label', 'support_size'):
        np.testing.assert_array_equal(
            getattr(part.scores, name), getattr(fresh, name), label
        )
      self.assertFalse(np.array_equal(part.scores.score, fresh.score), label)
    old, present = outcomes['old'][0].scores, fresh.support_size > 0
    self.assertTrue(
        (old.age_seconds >= fresh.age_seconds)[present].all()
    )


if __name__ == '__main__':
  absltest.main()

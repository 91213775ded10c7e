"""Replay of a small log: parity with the evaluation, leaks, ages, verdicts."""

import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments import log_input
from experiments.replay import contender as contender_lib
from experiments.replay import impressions as impressions_lib
from experiments.replay import replaying
from experiments.replay import verdict
from limaml_jax import errors
from limaml_jax.evaluation import replay as evaluation
from limaml_jax.store import lookup
from tests import drawn_bundle
from tests import small_bundle
from tests.experiments import commands
from tests.store import redis_server

_SCHEMA = """
name = "small"

[interactions]
files = ["log.parquet"]
format = "parquet"
item = "item"
timestamp = "time"
timestamp_unit = "s"
label = "liked"
duplicates = "keep"

[entities.user]
key = "user"

[[features]]
name = "colors"
owner = "item"
source = "log"
kind = "multi_hot"
role = "global"
column = "colors"
separator = "|"
max_values = 2

[[features]]
name = "hour"
owner = "context"
kind = "bucketized"
role = "global"
column = "hour"
boundaries = [6.0, 18.0]

[[features]]
name = "page"
owner = "context"
kind = "categorical"
role = "global"
column = "page"
hash_buckets = 7
"""
_RULE = verdict.Rule(0.001, 0.001, False)
_DAY = 86400


class ReplayTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    directory = tempfile.TemporaryDirectory()
    cls.addClassCleanup(directory.cleanup)
    cls.dir = pathlib.Path(directory.name)
    cls.opened = {}
    cls.made = small_bundle.make(cls.dir, publish=False)
    small_bundle.write_settings(cls.made, (1, 2, 3))
    # One refresh, each entity at its first test event: it stays published.
    cls.evaluated = cls.made.line.replay()
    table, info = cls.made.line.table, cls.made.line.info
    cls.rows = evaluation.test_rows(table, info)
    cls.spoiled = cls.dir / 'spoiled' / 'bundle'
    half = cls.made.half
    rng = np.random.default_rng(0)
    tables = {
        name: rng.permutation(np.asarray(rows)) * -5
        for name, rows in half.tables.items()
    }
    spoiled = cls.made._replace(
        root=cls.spoiled, half=half._replace(tables=tables)
    )
    small_bundle.write(spoiled)
    small_bundle.write_settings(spoiled, (1, 2, 3))

  def write_log(self, columns=None, schema=_SCHEMA, **changes):
    self.log_dir = pathlib.Path(self.create_tempdir().full_path)
    (self.log_dir / 'schema.toml').write_text(schema)
    columns = columns or small_bundle.to_log(
        self.made.line.table, self.rows.event
    )
    columns = columns | changes
    pq.write_table(pa.table(columns), self.log_dir / 'log.parquet')
    return log_input.find(str(self.log_dir / 'schema.toml'), [], None)

  def later(self, seconds):
    """Returns the log moved to so long after the snapshot."""
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    return columns | {
        'time': [self.made.cutoff + seconds + n for n in columns['time']]
    }

  def replay(self, log, *roots, reject=0.0, **chosen):
    with tempfile.TemporaryDirectory() as scratch:
      read = impressions_lib.read(
          log,
          'user',
          impressions_lib.Chosen(**chosen),
          scratch=scratch,
          memory_limit='1GB',
          max_reject_fraction=reject,
      )
      self.contenders = list(map(self.open, roots or [self.made.root]))
      return read, replaying.replay(self.contenders, read)

  @classmethod
  def open(cls, root):
    """Opens each bundle once: it compiles its program."""
    if root not in cls.opened:
      cls.opened[root] = contender_lib.Contender(root)
      cls.addClassCleanup(cls.opened[root].close)
    return cls.opened[root]

  def report(self, log, *roots, **chosen):
    read, replayed = self.replay(log, *roots, **chosen)
    return replaying.report(
        self.contenders, read, replayed, _RULE, num_replicates=50
    )

  def test_scores_are_those_of_the_evaluation_as_served(self):
    _, replayed = self.replay(self.write_log())
    keys = self.made.line.table.entity_keys
    times = self.made.line.table.timestamps[self.rows.event]
    expected = sorted(
        zip(keys[self.rows.entity].tolist(), times.tolist(),
            self.evaluated.score.tolist(), strict=True)
    )  # fmt: skip
    found = sorted(
        zip(np.asarray(replayed.entities)[replayed.entity].tolist(),
            replayed.times.tolist(), replayed.scored[0].scores.tolist(),
            strict=True)
    )  # fmt: skip
    self.assertGreater(len(found), 50)
    self.assertGreater(np.std(self.evaluated.score), 0.01)
    self.assertEqual([row[:2] for row in found], [row[:2] for row in expected])
    np.testing.assert_allclose(
        [row[2] for row in found], [row[2] for row in expected], atol=1e-6
    )

  def test_the_log_wins_over_what_the_bundle_knows_of_an_item(self):
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    _, as_known = self.replay(self.write_log(columns))
    others = ['red|blue' for _ in columns['colors']]
    _, as_logged = self.replay(self.write_log(columns, colors=others))
    difference = as_known.scored[0].scores - as_logged.scored[0].scores
    self.assertGreater(np.abs(difference).max(), 1e-4)

  @parameterized.named_parameters(
      ('category', 'page'), ('number', 'hour'), ('list', 'colors')
  )
  def test_an_empty_cell_is_unknown(self, name):
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    empty = pa.array([None] * len(columns['user']), pa.string())
    if name == 'hour':
      empty = empty.cast(pa.float64())
    _, known = self.replay(self.write_log(columns))
    _, unknown = self.replay(self.write_log(columns, **{name: empty}))
    difference = unknown.scored[0].scores - known.scored[0].scores
    self.assertGreater(np.abs(difference).max(), 1e-5)
    if name != 'hour':  # A text of no letters is no token either.
      blank = [''] * len(columns['user'])
      _, blank = self.replay(self.write_log(columns, **{name: blank}))
      np.testing.assert_array_equal(
          unknown.scored[0].scores, blank.scored[0].scores
      )

  def test_bad_rows_are_left_out_and_counted(self):
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    columns['liked'][3] = 7
    columns['user'][5] = None
    read, replayed = self.replay(self.write_log(columns), reject=0.1)
    self.assertEqual(replayed.entity.size, len(columns['user']) - 2)
    self.assertEqual(
        read.rejected,
        {"column 'user': not a key": 1, "label 'liked': not 0 or 1": 1},
    )

  def test_too_many_bad_rows_are_an_error(self):
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    columns['liked'][3] = 7
    with self.assertRaisesRegex(errors.InputError, 'row 4: label .* is .7'):
      self.replay(self.write_log(columns))

  def test_start_is_in_and_stop_is_out(self):
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    _, start, *_, last = sorted(set(columns['time']))
    _, replayed = self.replay(self.write_log(columns), start=start, stop=last)
    expected = [n for n in columns['time'] if start <= n < last]
    self.assertNotEmpty(expected)
    self.assertCountEqual(replayed.times.tolist(), expected)

  def test_limit_takes_the_earliest(self):
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    _, replayed = self.replay(self.write_log(columns), limit=7)
    self.assertCountEqual(replayed.times.tolist(), sorted(columns['time'])[:7])

  def test_nothing_chosen_is_an_error(self):
    with self.assertRaisesRegex(errors.InputError, 'no impressions before'):
      self.replay(self.write_log(), stop=1)

  def test_impressions_before_the_cutoff_are_leaks(self):
    columns = self.later(0)
    cutoff = self.open(self.made.root).cutoff
    # One just before the cutoff, one at it.
    columns['time'][:2] = [cutoff - 1, cutoff]
    with self.assertLogs(replaying._LOGGER) as logs:
      report = self.report(
          self.write_log(columns), self.made.root, self.made.root
      )
    self.assertIn('LEAK: 1 of', logs.output[0])
    self.assertEqual(report.bundles['A']['num_older_than_snapshot'], 1)
    self.assertFalse(report.verdict.accepted)
    self.assertStartsWith(report.verdict.reasons[2], 'FAIL: 1 and 1 of')

  def test_age_counts_to_the_impression_not_to_the_clock(self):
    columns = self.later(_DAY)
    _, replayed = self.replay(self.write_log(columns))
    # Watermarks lie before the snapshot's cutoff, within the log's hours.
    ages = replayed.scored[0].ages - (replayed.times - self.made.cutoff)
    self.assertGreaterEqual(ages.min(), 0)
    self.assertLess(ages.max(), 24 * 600)

  def test_stale_is_judged_at_the_time_of_the_impression(self):
    root = pathlib.Path(self.create_tempdir().full_path) / 'bundle'
    shutil.copytree(self.made.root, root)
    path = root / 'model-settings.json'
    settings = json.loads(path.read_text())
    settings['parameters']['extra']['max_age_seconds'] = 10 * _DAY
    path.write_text(json.dumps(settings))
    columns = small_bundle.to_log(self.made.line.table, self.rows.event)
    columns['time'] = [self.made.cutoff + _DAY for _ in columns['time']]
    columns['time'][0] = self.made.cutoff + 11 * _DAY
    _, replayed = self.replay(self.write_log(columns), root)
    is_stale = replayed.scored[0].statuses == lookup.Status.STALE
    np.testing.assert_array_equal(
        is_stale, replayed.times == columns['time'][0]
    )

  def test_cohorts_are_by_status_item_and_number(self):
    columns = self.later(_DAY)
    columns['user'][:3] = ['stranger'] * 3
    columns['item'][4] = 'boat'
    report = self.report(self.write_log(columns))
    rows = {
        group: {name: found.num_rows for name, found in parts.items()}
        for group, parts in report.cohorts.items()
    }
    num_rows = len(columns['user'])
    self.assertEqual(
        rows['embedding'], {'PRESENT': num_rows - 3, 'MISSING': 3}
    )
    self.assertEqual(rows['item'], {'known': num_rows - 1, 'unknown': 1})
    self.assertEqual(sum(rows['impressions'].values()), num_rows)
    self.assertGreaterEqual(rows['impressions']['1-5'], 3)
    self.assertNotIn('0', rows['impressions'])

  def test_cohorts_name_what_changes_from_a_to_b(self):
    # Its snapshot is of a model that no version of the bundle is of.
    other = small_bundle.make(
        self.create_tempdir().full_path, seed=1, publish=True
    )
    log = self.write_log(self.later(_DAY))
    mismatched = contender_lib.Contender(self.made.root, other.store)
    self.addCleanup(mismatched.close)
    contenders = [self.open(self.made.root), mismatched]
    with tempfile.TemporaryDirectory() as scratch:
      read = impressions_lib.read(
          log, 'user', impressions_lib.Chosen(), scratch=scratch,
          memory_limit='1GB', max_reject_fraction=0.0,
      )  # fmt: skip
      replayed = replaying.replay(contenders, read)
      with self.assertLogs(replaying._LOGGER) as logs:
        report = replaying.report(
            contenders, read, replayed, _RULE, num_replicates=10
        )
    self.assertEqual(
        list(report.cohorts['embedding']), ['PRESENT -> VERSION_MISMATCH']
    )
    self.assertIn('the default embedding scores', logs.output[-1])

  def test_a_password_of_a_store_is_not_told(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    server = redis_server.Server(folder.name, port=True, requirepass='hidden')
    self.addCleanup(server.kill)
    store = f'redis://:hidden@127.0.0.1:{server.port}/0'
    drawn_bundle.publish(store, 0)
    contender = contender_lib.Contender(self.made.root, store)
    self.addCleanup(contender.close)
    self.assertEqual(contender.snapshot, '00000001')
    self.assertEqual(contender.store, f'redis://127.0.0.1:{server.port}/0')

  def test_a_replaces_itself(self):
    log = self.write_log(self.later(_DAY))
    report = self.report(log, self.made.root, self.made.root)
    for name, figure in report.overall.difference.items():
      self.assertEqual(figure.value, 0.0, name)
      self.assertEqual(tuple(figure.interval), (0.0, 0.0), name)
    self.assertTrue(report.verdict.accepted)

  def test_one_bundle_has_no_verdict(self):
    report = self.report(self.write_log(self.later(_DAY)))
    self.assertIsNone(report.verdict)
    self.assertEmpty(report.overall.difference)

  @parameterized.named_parameters(
      ('missing', 'name = "page"', 'name = "side"', "context feature 'page'"),
      ('of_another_kind', 'kind = "bucketized"', 'kind = "numeric"\nfill = 0.0',
       "'hour' is numeric, and bucketized in"),
      ('no_column', 'column = "page"', 'column = "pag"', "no column 'pag'"),
  )  # fmt: skip
  def test_what_does_not_fit_is_named(self, old, new, message):
    schema = _SCHEMA.replace(old, new)
    if 'numeric' in new:
      schema = schema.replace('boundaries = [6.0, 18.0]\n', '')
    with self.assertRaisesRegex(errors.InputError, message):
      self.replay(self.write_log(schema=schema))

  def test_a_snapshot_published_meanwhile_is_an_error(self):
    log = self.write_log(self.later(_DAY))
    with tempfile.TemporaryDirectory() as scratch:
      read = impressions_lib.read(
          log, 'user', impressions_lib.Chosen(), scratch=scratch,
          memory_limit='1GB', max_reject_fraction=0.0,
      )  # fmt: skip
      contender = contender_lib.Contender(self.made.root)
      self.addCleanup(contender.close)
      contender.snapshot = '00000000'
      with self.assertRaisesRegex(errors.InputError, 'nothing is published'):
        replaying.replay([contender], read)

  @parameterized.named_parameters(
      ('itself', False, (), 0, 'B may replace A'),
      ('spoiled', True, (), 3, 'B may NOT replace A'),
      ('spoiled_but_allowed', True, ('--max_loss=1', '--max_entropy_gain=1e9'),
       0, 'B may replace A'),
  )  # fmt: skip
  def test_exit_status_says_whether_b_may_replace_a(
      self, spoiled, more, status, words
  ):
    self.write_log(self.later(_DAY))
    output = self.log_dir / 'replay.json'
    result = commands.run(
        'replay',
        f'--bundle={self.made.root}',
        f'--bundle={self.spoiled if spoiled else self.made.root}',
        f'--schema={self.log_dir / "schema.toml"}',
        f'--output={output}',
        commands.CACHE,
        '--replicates=50',
        *more,
    )
    self.assertEqual(result.returncode, status, result.stderr)
    self.assertIn(words, result.stdout)
    found = json.loads(output.read_text())
    self.assertEqual(found['verdict']['accepted'], status == 0)
    self.assertContainsSubset(
        ['roc_auc', 'gauc', 'normalized_entropy', 'calibration', 'log_loss'],
        found['overall']['B - A'],
    )

  def test_an_error_is_one_line_and_exit_status_1(self):
    self.write_log()
    result = commands.run(
        'replay',
        f'--bundle={self.made.root}',
        f'--schema={self.log_dir / "schema.toml"}',
        '--log=nowhere/*.parquet',
        commands.CACHE,
    )
    self.assertEqual(result.returncode, 1)
    self.assertLen(result.stderr.strip().splitlines(), 1)
    self.assertIn('error: --log=nowhere/*.parquet: no such', result.stderr)


if __name__ == '__main__':
  absltest.main()

import json
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import small_log

from limaml_jax import config as config_lib
from limaml_jax import errors
from limaml_jax.data.log import schema_file
from limaml_jax.data.profile import facts
from limaml_jax.data.profile import profiler

START = small_log.START


def profile(schema, data_dir, task_entity='user'):
  if isinstance(schema, pathlib.Path):
    schema = schema_file.load(schema)
  data = config_lib.DataConfig(task_entity=task_entity)
  return profiler.profile(schema, data_dir, data=data)


def column(known, name, table='log'):
  (found,) = (
      c for c in known.columns if c.name == name and c.table == table
  )
  return found


class CountsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.log = small_log.SmallLog(self.create_tempdir().full_path)

  def profile(self):
    return profile(self.log.schema, self.log.raw)

  def write_times(self, times, unit):
    self.log.edit_schema('timestamp_unit = "s"', f'timestamp_unit = "{unit}"')
    self.log.write_events(
        [f'ann,m{n},4,0,{time},tv' for n, time in enumerate(times)]
    )

  def test_a_good_log_is_counted(self):
    known = self.profile()
    self.assertEqual(
        (known.rows, known.entities, known.items, known.rejects),
        (16, 3, 5, ()),
    )
    self.assertEqual(known.label_rate, 10 / 16)
    # From START to ann's tenth event.
    self.assertEqual(known.time.first, '2001-09-09T01:46:40+00:00')
    self.assertEqual(known.time.span_seconds, 900)
    length = column(known, 'length', 'item')
    self.assertEqual((length.rows, length.nulls, length.invalid), (5, 1, 0))
    # 99, 9, 999 and 1.
    self.assertEqual(
        (length.minimum, length.maximum, length.mean), (1, 999, 277)
    )
    genres = column(known, 'genres', 'item')
    self.assertEqual(genres.distinct, 4)
    self.assertEqual(genres.most_frequent[0], ('love', 3))
    self.assertEmpty(known.findings)

  def test_quantiles(self):
    # Ten users with 1, 2, ... 10 events; the 25 % quantile is the third.
    lines = [
        f'u{user},m{n},4,0,{START + n},tv'
        for user in range(1, 11) for n in range(user)
    ]
    self.log.write_events(lines)
    self.assertEqual(
        self.profile().events_per_entity,
        {'min': 1, '10%': 1, '25%': 3, '50%': 5, '75%': 8, '90%': 9,
         '99%': 10, 'max': 10},
    )  # fmt: skip

  def test_invalid_rows_are_counted_and_do_not_stop(self):
    self.log.write_events([
        *small_log.EVENTS,
        f',m0,4,0,{START},tv',
        f'ann,,4,0,{START},tv',
        f'ann,m0,,0,{START},tv',
        f'ann,m0,good,0,{START},tv',
        'ann,m0,4,0,noon,tv',
        'ann,m0,4,0,,tv',
        'ann,m0,4,0,5,',
    ])
    known = self.profile()
    self.assertEqual(known.rows, 23)
    self.assertEqual(sum(reject.rows for reject in known.rejects), 7)
    found = {
        c.name: (c.nulls, c.invalid) for c in known.columns if c.table == 'log'
    }
    self.assertEqual(
        found,
        {
            'user': (1, 1),
            'movie': (1, 1),
            'time': (1, 3),
            'rating >= 4': (2, 2),
            'device': (1, 0),
            'rating': (1, 1),
        },
    )
    self.assertEqual((known.time.unreadable, known.time.implausible), (2, 1))

  def test_invalid_numbers_of_a_side_table(self):
    self.log.write(
        'users.csv',
        ['id,age,city', 'ann,old,Rome', 'bob,,Oslo', 'cat,inf,', 'zoe,7,Rome'],
    )
    age = column(self.profile(), 'age', 'entity')
    self.assertEqual((age.nulls, age.invalid, age.mean), (1, 2, 7))
    self.assertLen(
        [text for text in self.profile().findings if "'age'" in text], 2
    )

  def test_a_logarithm_of_nothing_is_invalid(self):
    self.log.write('movies.csv', ['id,genres,length', 'm0,war,-1', 'm1,war,0'])
    self.assertEqual(column(self.profile(), 'length', 'item').invalid, 1)

  def test_values_beyond_the_bounds_are_counted(self):
    self.log.edit_schema(
        'column = "age"', 'column = "age"\nminimum = 40\nmaximum = 60'
    )
    known = self.profile()
    # 30 and 90, not 50.
    self.assertEqual(column(known, 'age', 'entity').out_of_range, 2)

  def test_repeated_rows(self):
    again = small_log.EVENTS[0]
    self.log.write_events([*small_log.EVENTS, again, again])
    known = self.profile()
    self.assertEqual(known.repeated_rows, 2)
    self.assertIn("set duplicates = 'first'", known.findings[0])

  def test_coverage(self):
    self.log.write('users.csv', ['id,age,city', 'zoe,9,Rome', 'zoe,8,Oslo',
                                 'cat,7,Oslo'])  # fmt: skip
    side, _ = self.profile().coverage
    # Of ann, bob and cat.
    self.assertEqual(side, facts.CoverageFacts('entity', 3, 1, 3, 1))

  def test_days(self):
    # START is 01:46:40 of the ninth.
    self.log.write_events([
        f'ann,m0,4,0,{START},tv',
        f'ann,m1,1,0,{START + 1},tv',
        f'ann,m2,4,0,{START + 86400},tv',
    ])
    self.assertEqual(
        self.profile().days,
        (('2001-09-09', 2, 0.5), ('2001-09-10', 1, 1.0)),
    )

  @parameterized.named_parameters(
      ('milliseconds', 's', 'ms', 1000),
      ('microseconds', 's', 'us', 1000000),
  )
  def test_a_wrong_unit_is_named(self, unit, right, factor):
    self.write_times([START, START * factor, (START + 1) * factor], unit)
    known = self.profile()
    self.assertEqual(known.time.implausible, 2)
    self.assertEqual(known.time.plausible_in[right], 2)
    self.assertIn(f"set timestamp_unit = '{right}'", known.findings[0])

  def test_seconds_taken_for_milliseconds_are_named(self):
    self.write_times([START, START + 1], 'ms')
    self.assertIn("set timestamp_unit = 's'", self.profile().findings[0])

  @parameterized.named_parameters(
      ('short', [f'{START}.1', f'{START}.2'], 'spans 0.1 s'),
      ('long', [START, START + 25 * 365.25 * 86400], 'spans 25 years'),
  )
  def test_an_odd_span_is_named(self, times, words):
    self.write_times(times, 's')
    self.assertTrue(any(words in text for text in self.profile().findings))

  def test_times_without_zone_are_counted(self):
    times = ['2024-01-05 10:00:00', '2024-01-06', '2024-01-05T10:00:00Z',
             '2024-01-05 10:00:00+02:00', '2024-01-05 10:00:00-05']  # fmt: skip
    self.write_times(times, 'iso')
    known = self.profile()
    self.assertEqual(known.time.without_zone, 2)
    self.assertTrue(any('2 of 5 times name no zone' in text
                        for text in known.findings))

  def test_a_wrong_schema_is_refused(self):
    self.log.edit_schema('column = "device"', 'column = "gadget"')
    with self.assertRaisesRegex(errors.InputError, "no column 'gadget'"):
      self.profile()

  def test_days_are_those_of_the_zone(self):
    # The second is 01:00 of the tenth in Tokyo.
    self.write_times(['2001-09-09 23:30:00', '2001-09-09T16:00:00Z'], 'iso')
    self.log.edit_schema(
        'label =', 'timestamp_zone = "Asia/Tokyo"\nlabel ='
    )
    known = self.profile()
    self.assertEqual(
        known.days, (('2001-09-09', 1, 1.0), ('2001-09-10', 1, 1.0))
    )
    self.assertEqual(known.time.first, '2001-09-09T14:30:00+00:00')
    self.assertEmpty([text for text in known.findings if 'zone' in text])

  def test_rejects_are_those_of_prepare(self):
    again = small_log.EVENTS[0]
    self.log.write_events([
        *small_log.EVENTS, again, f',m0,4,0,{START},tv', 'ann,m0,4,0,5,tv',
    ])
    self.assertEqual(
        [(one.field, one.rows) for one in self.profile().rejects],
        [
            ("column 'user'", 1),
            ("column 'time'", 1),
            ("columns 'user' and 'movie' and the time", 1),
        ],
    )

  def test_weights_that_are_none_are_invalid(self):
    self.log.edit_schema(
        'label = "rating >= 4"',
        'label = "rating >= 4"\nweight = "watched - 1"',
    )
    # Of 16 events three watched 0 and two 1: weights of -1 and 0.
    weight = column(self.profile(), 'watched - 1')
    self.assertEqual((weight.kind, weight.invalid), ('weight', 5))

  def test_targets_beyond_1_are_invalid(self):
    self.log.edit_schema(
        'label = "rating >= 4"',
        'label = "rating >= 4"\ntarget = "1 - watched"',
    )
    # Of 16 events three watched 0 and two 1: targets of 1 and 0.
    target = column(self.profile(), '1 - watched')
    self.assertEqual((target.kind, target.invalid), ('target', 11))

  def test_a_bucketized_number_is_a_number(self):
    self.log.edit_schema(
        'kind = "numeric"\nrole = "meta"\ncolumn = "age"',
        'kind = "bucketized"\nrole = "meta"\ncolumn = "age"\n'
        'boundaries = [40]',
    )
    age = column(self.profile(), 'age', 'entity')
    self.assertEqual((age.minimum, age.maximum), (30, 90))

  def test_writes_nothing(self):
    before = self.listing()
    self.profile()
    self.assertEqual(self.listing(), before)

  def listing(self):
    return {
        path: path.stat().st_mtime_ns for path in self.log.root.rglob('*')
    }

  def test_is_json(self):
    known = self.profile()
    read = json.loads(json.dumps(facts.to_json(known), allow_nan=False))
    self.assertEqual(read['rows'], 16)
    self.assertEqual(read['columns'][0]['most_frequent'][0],
                     {'value': 'ann', 'count': 10})


if __name__ == '__main__':
  absltest.main()

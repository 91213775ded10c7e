import datetime

from absl.testing import absltest
from absl.testing import parameterized

from launch import cutoff


class LatestMidnightTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('utc', 'UTC', '2026-03-29T00:30', '2026-03-29T00:00:00+00:00'),
      ('next_day_there', 'Asia/Shanghai', '2026-03-28T16:00',
       '2026-03-29T00:00:00+08:00'),
      ('same_day_there', 'Asia/Shanghai', '2026-03-28T15:59',
       '2026-03-28T00:00:00+08:00'),
      # Clocks went from 02:00 to 03:00: noon is +02:00, midnight was +01:00.
      ('clocks_changed_since', 'Europe/Berlin', '2026-03-29T10:00',
       '2026-03-29T00:00:00+01:00'),
      # Clocks went from 00:00 to 01:00, which is the same instant, 04:00 UTC.
      ('no_midnight', 'America/Santiago', '2026-09-06T12:00',
       '2026-09-06T00:00:00-04:00'),
  )  # fmt: skip
  def test_is_the_start_of_the_day(self, zone, now, expected):
    now = datetime.datetime.fromisoformat(now).replace(tzinfo=datetime.UTC)
    self.assertEqual(cutoff.latest_midnight(now, zone), expected)

  @parameterized.parameters('Mars/Olympus', '../etc/passwd', 'Asia', '')
  def test_refuses_an_unknown_zone(self, zone):
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with self.assertRaisesRegex(ValueError, f'^LIMAML_ZONE={zone}: no such'):
      cutoff.latest_midnight(now, zone)


if __name__ == '__main__':
  absltest.main()

import datetime
import pathlib

from absl.testing import absltest

from experiments.configs import ml1m_metaspore
from experiments.configs import ml100k_gdmix
from tests.experiments import commands

_HEADER = 'user_id:token\titem_id:token\trating:float\ttimestamp:float'


def seconds(text):
  return int(datetime.datetime.fromisoformat(text).timestamp())


class MovielensProtocolsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)
    (self.root / 'raw').mkdir()

  def write_raw(self, name, rows):
    lines = ['\t'.join(map(str, row)) for row in rows]
    path = self.root / 'raw' / f'{name}.inter'
    path.write_text('\n'.join([_HEADER, *lines]) + '\n')
    (self.root / 'raw' / f'{name}.user').write_text('user_id:token\n')

  def run_binary(self, protocol):
    return commands.run(
        'movielens_protocols',
        f'--data_dir={self.root / "raw"}',
        f'--protocol={protocol}',
        f'--output={self.root / "out"}',
    )

  def written(self, protocol, name):
    """Returns [user, item, rating], and the time, of each row."""
    result = self.run_binary(protocol)
    self.assertEqual(result.returncode, 0, result.stderr)
    text = (self.root / 'out' / f'{name}.inter').read_text()
    header, *lines = text.splitlines()
    self.assertEqual(header, _HEADER)
    rows = [line.split('\t') for line in lines]
    return [row[:3] for row in rows], [int(row[3]) for row in rows]

  def test_gdmix_tests_a_fifth_at_random(self):
    # The later the row, the higher its rating: order in time would show.
    raw = [(1 + n % 7, n, 1 + n // 40, 900 + n) for n in range(200)]
    self.write_raw('ml-100k', raw)
    rows, times = self.written('gdmix', 'ml-100k')
    expected = [list(map(str, row[:3])) for row in raw]
    self.assertCountEqual(rows, expected)
    protocol = ml100k_gdmix.get_config().protocol
    bounds = (
        protocol.validation_start, protocol.train_end, protocol.test_end
    )
    before = [sum(t < seconds(bound) for t in times) for bound in bounds]
    self.assertEqual(before, [144, 160, 200])  # 72 %, 80 %, all.
    # Rows that are judged together know nothing of each other.
    start = seconds('2000-01-01T00:00:00+00:00')
    self.assertEqual(
        sorted(times),
        [start + n for n in range(144)]
        + 16 * [seconds(protocol.validation_start)]
        + 40 * [seconds(protocol.train_end)],
    )
    tested = [
        int(row[2])
        for row, time in zip(rows, times, strict=True)
        if time >= seconds(protocol.train_end)
    ]
    # The last 40 in time have rating 5, the mean of all is 3.
    self.assertBetween(sum(tested) / 40, 2.5, 3.5)
    again, _ = self.written('gdmix', 'ml-100k')
    self.assertEqual(again, rows)

  def test_metaspore_tests_the_last_rating_unless_it_is_a_three(self):
    self.write_raw('ml-1m', [
        # Of two latest ratings the first of the file is tested.
        ('u', 'It\'s "so", 1', 4, 70), ('u', 'b', 5, 70),
        ('u', 'c', 3, 60), ('u', 'd', 1, 50), ('u', 'e', 2, 40),
        ('u', 'f', 4, 30), ('u', 'g', 5, 20), ('u', 'h', 1, 10),
        # Of two of a second, too, the first counts as the later.
        ('w', 'z', 4, 90), ('w', 'y', 5, 80), ('w', 'x', 1, 80),
        # The last one is dropped, and nothing takes its place.
        ('v', 'a', 3, 90), ('v', 'b', 2, 80),
    ])  # fmt: skip
    rows, times = self.written('metaspore', 'ml-1m')
    protocol = ml1m_metaspore.get_config().protocol
    test = seconds(protocol.train_end)
    validation = seconds(protocol.validation_start)
    self.assertEqual(
        dict(zip(map(tuple, rows), times, strict=True)),
        {
            ('u', 'It\'s "so", 1', '4'): test,
            # The last five of u, in order.
            ('u', 'b', '5'): validation + 4,
            ('u', 'd', '1'): validation + 3,
            ('u', 'e', '2'): validation + 2,
            ('u', 'f', '4'): validation + 1,
            ('u', 'g', '5'): validation,
            ('u', 'h', '1'): 10,
            ('w', 'z', '4'): test,
            ('w', 'y', '5'): validation + 4,
            ('w', 'x', '1'): validation + 3,
            ('v', 'b', '2'): validation + 4,
        },
    )
    self.assertLess(test, seconds(protocol.test_end))

  def test_links_to_the_other_files(self):
    self.write_raw('ml-1m', [('u', 'a', 4, 70)])
    self.written('metaspore', 'ml-1m')
    link = self.root / 'out' / 'ml-1m.user'
    self.assertTrue(link.is_symlink())
    self.assertEqual(link.read_text(), 'user_id:token\n')

  def test_missing_and_wrong_files_are_one_line(self):
    result = self.run_binary('gdmix')
    self.assertEqual(result.returncode, 1)
    self.assertLen(result.stderr.strip().splitlines(), 1)
    self.assertIn('ml-100k.inter: no such file', result.stderr)
    (self.root / 'raw' / 'ml-100k.inter').write_text('a\tb\n1\t2\n')
    result = self.run_binary('gdmix')
    self.assertEqual(result.returncode, 1)
    self.assertLen(result.stderr.strip().splitlines(), 1)
    self.assertIn('is it that of RecBole?', result.stderr)
    self.assertFalse((self.root / 'out').exists())


if __name__ == '__main__':
  absltest.main()

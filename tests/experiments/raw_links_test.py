import pathlib

from absl.testing import absltest

from experiments import raw_links
from limaml_jax import errors


class WriteTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.dir = pathlib.Path(self.create_tempdir().full_path)
    for folder, name in (('a', 'old'), ('a', 'log'), ('b', 'log')):
      (self.dir / folder).mkdir(exist_ok=True)
      (self.dir / folder / name).write_text(folder)
    self.out = self.dir / 'out'
    self.out.mkdir()

  def test_no_link_to_another_folder_stays_but_files_do(self):
    raw_links.write(self.dir / 'a', self.out)
    (self.out / 'made').write_text('made')
    raw_links.write(self.dir / 'b', self.out)
    found = {path.name: path.read_text() for path in self.out.iterdir()}
    self.assertEqual(found, {'made': 'made', 'log': 'b'})

  def test_refuses_to_link_a_folder_into_itself(self):
    raw_links.write(self.dir / 'a', self.out)
    with self.assertRaisesRegex(errors.InputError, 'another --output'):
      raw_links.write(self.out, self.out)
    self.assertEqual((self.out / 'log').read_text(), 'a')


if __name__ == '__main__':
  absltest.main()

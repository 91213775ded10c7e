from absl.testing import absltest
from absl.testing import parameterized

from experiments.benchmark import collectives

_FORMS = {
    'replica_groups={{0,1,2,3},{4,5,6,7}}': 4,
    'replica_groups=[2,4]<=[8]': 4,
    "replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}": 4,
    "replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0','axis_1'}": 8,
    "replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}": 4,
}


def line(kind, shapes, groups='replica_groups=[2,4]<=[8]'):
  return f'  %x.1 = {shapes} {kind}(%y, %z), channel_id=1, {groups}, a=%f'


class ReadTest(parameterized.TestCase):

  @parameterized.parameters(
      # A ring of four: each sends three quarters, and a sum goes round twice.
      ('all-reduce', 'f32[8,2]{1,0}', 2 * 64 * 3 // 4),
      ('all-reduce', '(f32[8,2]{1,0}, f32[])', 2 * 68 * 3 // 4),
      ('all-gather', 's32[16]{0}', 48),
      ('reduce-scatter', 'f32[4]{0}', 48),
      ('all-to-all', 'f32[4,4]{1,0}', 48),
      ('all-gather-start', '(f16[4]{0}, f16[16]{0})', 32 * 3 // 4),
      (
          'collective-permute-start',
          '(f32[4]{0}, f32[4]{0}, u32[], u32[])',
          16,
      ),
  )
  def test_bytes_that_a_device_sends(self, kind, shapes, expected):
    (found,) = collectives.read(line(kind, shapes))
    self.assertEqual(found.kind, kind.removesuffix('-start'))
    self.assertEqual(found.group, 4)
    self.assertEqual(found.sent_bytes, expected)

  @parameterized.parameters(*_FORMS.items())
  def test_every_form_of_groups(self, groups, size):
    (found,) = collectives.read(line('all-gather', 'f32[8]{0}', groups))
    self.assertEqual(found.group, size)

  def test_a_permutation_sends_what_it_returns(self):
    pairs = 'source_target_pairs={{0,1},{1,2}}'
    (found,) = collectives.read(line('collective-permute', 'f32[8]{0}', pairs))
    self.assertEqual(found.sent_bytes, 32)

  def test_unknown_groups_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'all-gather'):
      list(collectives.read(line('all-gather', 'f32[8]{0}', 'groups=?')))

  def test_all_else_is_passed_by(self):
    text = '  %f = f32[8]{0} fusion(%all-gather, %all-reduce.1), kind=kLoop'
    self.assertEmpty(list(collectives.read(text)))


if __name__ == '__main__':
  absltest.main()

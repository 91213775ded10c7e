from absl.testing import absltest

from limaml_jax.evaluation import document


class DocumentTest(absltest.TestCase):

  def test_title_is_text_and_body_is_html(self):
    page = document.render('a < b', '<p>$1</p>')
    self.assertIn('<title>a &lt; b</title>', page)
    self.assertIn('<body>\n<p>$1</p>\n</body>', page)
    self.assertNotIn('http', page)

  def test_a_figure_is_named_for_those_who_do_not_see_it(self):
    figure = document.figure('"K" & rate', '<svg a="1"/>', 'x < y')
    title = '&quot;K&quot; &amp; rate'
    self.assertIn(f'<svg role="img" aria-label="{title}" a="1"/>', figure)
    self.assertStartsWith(figure, f'<h2>{title}</h2>')
    self.assertIn('<figcaption>x &lt; y</figcaption>', figure)


if __name__ == '__main__':
  absltest.main()

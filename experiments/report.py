r"""Collects the finished studies in one HTML file that needs nothing beside it.

    python -m experiments.report --workdir=runs/studies

writes WORKDIR/report.html: each study's question, answer, tables and figures,
with the command under every table.
"""

import html
import pathlib

from absl import flags

from experiments import binary
from experiments import pipeline
from experiments.study import writing
from limaml_jax.evaluation import document

flags.adopt_module_key_flags(binary)

_WORKDIR = flags.DEFINE_string('workdir', 'runs/studies', 'Of all studies.')
_OUTPUT = flags.DEFINE_string(
    'output', None, 'HTML file; WORKDIR/report.html when left out.'
)
_TITLE = 'Studies of LiMAML'
_REPORT_FILE = 'report.html'


def main() -> None:
  """Writes the report."""
  workdir = pathlib.Path(_WORKDIR.value)
  studies = writing.read_all(workdir)
  contents = ''.join(
      f'<li><a href="#{html.escape(study["id"])}">'
      f'{html.escape(study["title"])}</a>: '
      f'{html.escape(study["answer"] or "refused")}</li>'
      for study in studies.values()
  )
  sections = [writing.render(*pair) for pair in studies.items()]
  body = f'<h1>{_TITLE}</h1>\n<ul>{contents}</ul>\n' + '\n'.join(sections)
  output = pathlib.Path(_OUTPUT.value or workdir / _REPORT_FILE)
  pipeline.write_text(output, document.render(_TITLE, body))
  print(f'{output}: {len(studies)} studies')


if __name__ == '__main__':
  binary.run(main)

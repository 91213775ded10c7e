"""Document: the HTML around tables and figures, in one file by itself."""

import html
import string

_DOCUMENT = string.Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --text: #1c2126; --page: #fdfdfc;
  --muted: #59636e; --line: #d5d9de; --best: #e8f1ea; --loud: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ea; --page: #16191d;
  --muted: #9aa4af; --line: #3a4149; --best: #20352a; --loud: #f2857d; } }
body { color: var(--text); background: var(--page); margin: 2rem auto;
  padding: 0 1rem; max-width: 72rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin-bottom: 0.3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.4rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0.4rem; }
p, figcaption, li { max-width: 46rem; }
figcaption, .note { color: var(--muted); font-size: 0.9rem; }
.answer { font-weight: 600; }
.refused { color: var(--loud); }
code { font-size: 0.9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.65rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; font-weight: 600; }
th:first-child { text-align: left; }
tbody th { font-weight: 400; vertical-align: middle;
  font-family: ui-monospace, monospace; }
td.best { font-weight: 700; background: var(--best); }
figure { margin: 0; }
svg { max-width: 100%; height: auto; }
</style>
</head>
<body>
$body
</body>
</html>
""")


def render(title: str, body: str) -> str:
  """Returns a page of HTML that needs nothing beside it.

  Args:
    title: plain text.
    body: HTML.
  """
  return _DOCUMENT.substitute(title=html.escape(title), body=body)


def figure(
    title: str, svg: str, caption: str, *, heading: str = 'h2'
) -> str:
  """Returns the HTML of a figure below its title.

  Args:
    title: plain text.
    svg: the figure.
    caption: plain text.
    heading: element of the title, such as 'h2'.
  """
  title, caption = html.escape(title), html.escape(caption)
  svg = svg.replace('<svg ', f'<svg role="img" aria-label="{title}" ', 1)
  return (
      f'<{heading}>{title}</{heading}>\n<figure>{svg}'
      f'<figcaption>{caption}</figcaption></figure>'
  )

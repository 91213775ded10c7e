"""Drawing: the look that every figure of a report shares.

Text and axes take the page's own colour, so one figure serves a light and a
dark page. Colours are told apart by colour-blind readers too, and markers and
dashes tell variants apart without them.
"""

from collections.abc import Callable
from collections.abc import Sequence
import io
import re
from typing import NamedTuple

import matplotlib
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
import numpy as np

# After Okabe and Ito's palette, without what fades on a light or a dark page.
COLORS = (
    '#1a7fc4', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8a8f98',
    '#8463b8',
)
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
_DASHES = ('-', '--', '-.', ':')
_WIDTH = 7.6  # Inches.
_FONT_SIZE = 11  # Points; the SVG is shown at its own size or smaller.
_SMOOTHED_ABOVE = 60  # Points of a curve; more are shown as running means.
# Stands for the page's text colour until the SVG is written.
TEXT = '#010203'


class Look(NamedTuple):
  """How one variant is told apart; unpack `_asdict()` into `Axes.plot`."""

  color: str
  marker: str
  linestyle: str


def look(index: int) -> Look:
  """Returns the look of the variant that stands at `index`."""
  return Look(
      color=COLORS[index % len(COLORS)],
      marker=_MARKERS[index % len(_MARKERS)],
      linestyle=_DASHES[index % len(_DASHES)],
  )


def draw_interval(
    axes: mpl_axes.Axes,
    value: float,
    bounds: Sequence[float] | None,
    position: float,
    *,
    variant: Look,
    vertical: bool = False,
    label: str | None = None,
) -> None:
  """Draws a value and, if there are bounds, a line between them."""
  x, y = (position, value) if vertical else (value, position)
  if bounds is not None:
    low, high = bounds
    line = axes.vlines if vertical else axes.hlines
    line(position, low, high, colors=variant.color, linewidth=2.0)
  axes.plot(
      [x], [y], color=variant.color, marker=variant.marker, linestyle='',
      label=label,
  )


def smooth(
    steps: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns means of consecutive records, few enough to be read."""
  window = max(len(values) // _SMOOTHED_ABOVE, 1)
  starts = np.arange(0, len(values), window)
  if not starts.size:
    return steps, values
  counts = np.diff(np.append(starts, len(values)))
  return (
      np.add.reduceat(steps.astype(float), starts) / counts,
      np.add.reduceat(values.astype(float), starts) / counts,
  )


def legend(axes: mpl_axes.Axes) -> None:
  """Puts the legend beside the axes, if anything is labelled."""
  if axes.get_legend_handles_labels()[0]:
    axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), frameon=False)


def render(
    name: str, draw: Callable[[mpl_axes.Axes], None], *, height: float
) -> str:
  """Returns the SVG element of one figure."""
  settings = {
      'svg.fonttype': 'none',
      'svg.hashsalt': name,
      'font.family': 'sans-serif',
      'font.size': _FONT_SIZE,
      'text.parse_math': False,  # A name may hold a dollar sign.
      'axes.spines.top': False,
      'axes.spines.right': False,
      'axes.grid': True,
      'grid.alpha': 0.18,
      'lines.markersize': 6,
      **dict.fromkeys(
          (
              'text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color',
              'ytick.color', 'grid.color',
          ),
          TEXT,
      ),
  }
  with matplotlib.rc_context(settings):
    figure = mpl_figure.Figure(figsize=(_WIDTH, height), layout='constrained')
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    draw(axes)
    file = io.StringIO()
    figure.savefig(file, format='svg', transparent=True)
  svg = file.getvalue()
  svg = svg[svg.index('<svg'):].replace(TEXT, 'currentColor')
  # Holds the time of drawing.
  svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
  # Several figures share one page, and ids must not.
  return re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{name}-', svg)

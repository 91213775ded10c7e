"""Figures of studies: intervals by run, and lines over a number."""

from collections.abc import Mapping
from collections.abc import Sequence

from matplotlib import axes as mpl_axes
from matplotlib import ticker
import numpy as np

from experiments.study import statistics
from limaml_jax.evaluation import drawing

# (x, figure) along one line.
Points = Sequence[tuple[float, statistics.Figure]]

_ROW_HEIGHT = 0.42  # Inches.
_BESIDE = 0.012  # Between lines, of the axis.


def intervals(
    name: str,
    values: Mapping[str, statistics.Figure],
    *,
    xlabel: str,
    zero: bool = False,
) -> str:
  """Draws a value per run with its 95 % interval, one below the other.

  Args:
    name: of the figure.
    values: by run.
    xlabel: what the values are.
    zero: draws a line at 0.
  """
  shown = {k: v for k, v in values.items() if v.value is not None}

  def draw(axes: mpl_axes.Axes) -> None:
    for position, figure in enumerate(shown.values()):
      assert figure.value is not None
      drawing.draw_interval(
          axes, figure.value, figure.interval, position,
          variant=drawing.look(0),
      )
    if zero:
      axes.axvline(0.0, color=drawing.TEXT, linewidth=1.0)
    axes.set_yticks(range(len(shown)), list(shown))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f'{xlabel}, 95 % interval')

  return drawing.render(name, draw, height=1.0 + _ROW_HEIGHT * len(shown))


def lines(
    name: str,
    series: Mapping[str, Points],
    *,
    xlabel: str,
    ylabel: str,
    ticks: Sequence[str] | None = None,
    zero: bool = False,
    log: bool = False,
    joined: bool = True,
) -> str:
  """Draws lines through values with their 95 % intervals.

  Args:
    name: of the figure.
    series: points by the name of the line.
    xlabel: what x is, with its unit.
    ylabel: what the values are.
    ticks: texts for x = 0, 1, ...; numbers when left out.
    zero: draws a line at 0.
    log: makes the axis of x logarithmic.
    joined: leaves points apart when False.
  """

  def draw(axes: mpl_axes.Axes) -> None:
    every = [x for points in series.values() for x, _ in points]
    span = max(every, default=1.0) - min(every, default=0.0)
    for index, (label, points) in enumerate(series.items()):
      look = drawing.look(index)
      if not joined:
        look = look._replace(linestyle='none')
      # Lines stand beside each other, so that intervals do not overlap.
      place = _BESIDE * (index - (len(series) - 1) / 2)
      moved = [
          (x * (1 + place) if log else x + place * span, figure)
          for x, figure in points
      ]
      _draw_line(axes, moved, label, look)
    if zero:
      axes.axhline(0.0, color=drawing.TEXT, linewidth=1.0)
    if log:
      _make_logarithmic(axes)
    if ticks is not None:
      axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(f'{ylabel}, 95 % interval')
    drawing.legend(axes)

  return drawing.render(name, draw, height=3.8)


def _draw_line(
    axes: mpl_axes.Axes, points: Points, label: str, look: drawing.Look
) -> None:
  known = [(x, figure) for x, figure in points if figure.value is not None]
  values = np.array([figure.value for _, figure in known], float)
  axes.plot(
      [x for x, _ in known], values, label=label, linewidth=1.4,
      **look._asdict(),
  )
  for x, figure in known:
    if figure.interval is not None:
      axes.vlines(x, *figure.interval, colors=look.color, linewidth=2.0)


def _make_logarithmic(axes: mpl_axes.Axes) -> None:
  axes.set_xscale('log')
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
  axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())

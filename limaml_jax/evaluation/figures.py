"""Figures of a report: inline SVG, the same bytes for the same numbers."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from matplotlib import axes as mpl_axes
from matplotlib import ticker
import numpy as np

from limaml_jax.evaluation import calibration
from limaml_jax.evaluation import cohorts as cohorts_lib
from limaml_jax.evaluation import drawing
from limaml_jax.evaluation import metrics
from limaml_jax.evaluation import scores as scores_lib
from limaml_jax.evaluation import summary as summary_lib

Curves = Mapping[str, Sequence[Mapping[str, float]]]
ScoresByVariant = Mapping[str, scores_lib.Scores]

_BAR_HEIGHT = 0.36  # Inches.


def looks_of(names: Iterable[str]) -> dict[str, drawing.Look]:
  """Returns one look per variant, the same in every figure of a page."""
  unique = dict.fromkeys(names)
  return {name: drawing.look(index) for index, name in enumerate(unique)}


def roc_auc_intervals(summary: summary_lib.Summary) -> str:
  """Draws ROC-AUC per variant with its 95 % interval."""
  names = list(summary['variants'])

  def draw(axes: mpl_axes.Axes) -> None:
    for position, name in enumerate(names):
      variant = summary['variants'][name]
      if variant['roc_auc'] is None:
        continue
      drawing.draw_interval(
          axes, variant['roc_auc'], variant['intervals'].get('roc_auc'),
          position, variant=drawing.look(0),
      )
      axes.annotate(
          f'{variant["roc_auc"]:.4f}', (variant['roc_auc'], position),
          xytext=(0, 7), textcoords='offset points', ha='center', fontsize=9,
      )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.set_xlabel('ROC-AUC on test rows, 95 % interval over entities')

  height = 1.0 + 1.3 * _BAR_HEIGHT * len(names)
  return drawing.render('roc_auc', draw, height=height)


def gains_by_cohort(
    differences: Mapping[str, summary_lib.DifferenceSummary],
) -> str:
  """Draws the paired ROC-AUC gain in each cohort with its 95 % interval."""
  cohorts = cohorts_lib.COHORTS

  def draw(axes: mpl_axes.Axes) -> None:
    shift = 0.16 * (len(differences) - 1) / 2
    for index, (name, part) in enumerate(differences.items()):
      offset = 0.16 * index - shift
      label = name  # Only on its first point, for one entry in the legend.
      for position, cohort in enumerate(cohorts):
        gain = part['cohorts'][cohort]
        if gain['roc_auc'] is None:
          continue
        drawing.draw_interval(
            axes, gain['roc_auc'], gain['interval'], position + offset,
            variant=drawing.look(index), vertical=True, label=label,
        )
        label = None
    axes.axhline(0.0, color=drawing.TEXT, linewidth=1.0)
    axes.set_xticks(range(len(cohorts)), cohorts)
    axes.set_xlim(-0.5, len(cohorts) - 0.5)
    axes.set_xlabel('events of the entity before the cutoff')
    axes.set_ylabel('ROC-AUC gain, 95 % interval')
    drawing.legend(axes)

  return drawing.render('gains', draw, height=3.6)


def roc_auc_by_day(
    scores_by_variant: ScoresByVariant, looks: Mapping[str, drawing.Look]
) -> str:
  """Draws ROC-AUC of the rows scored under each cutoff."""

  def draw(axes: mpl_axes.Axes) -> None:
    for name, rows in scores_by_variant.items():
      days = np.unique(rows.day)
      values = [
          metrics.RocAuc.from_scores(
              rows.score[rows.day == day], rows.label[rows.day == day]
          ).compute()
          for day in days
      ]
      axes.plot(
          days, np.array(values, float), label=name, linewidth=1.6,
          **looks[name]._asdict(),
      )
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.set_xlabel('cutoff, counted from the first one')
    axes.set_ylabel('ROC-AUC')
    drawing.legend(axes)

  return drawing.render('days', draw, height=3.8)


def training_curves(curves: Curves, looks: Mapping[str, drawing.Look]) -> str:
  """Draws the meta loss of each variant over outer steps."""

  def draw(axes: mpl_axes.Axes) -> None:
    for name, records in curves.items():
      records = [record for record in records if 'meta_loss' in record]
      steps = np.array([record['step'] for record in records])
      losses = np.array([record['meta_loss'] for record in records])
      axes.plot(
          *drawing.smooth(steps, losses), label=name, linewidth=1.6,
          color=looks[name].color, linestyle=looks[name].linestyle,
      )
    axes.set_xlabel('completed outer steps')
    axes.set_ylabel('meta loss (nats per row)')
    drawing.legend(axes)

  return drawing.render('training', draw, height=3.6)


def calibration_curves(
    scores_by_variant: ScoresByVariant, looks: Mapping[str, drawing.Look]
) -> str:
  """Draws the observed share of label 1 against the mean score."""

  def draw(axes: mpl_axes.Axes) -> None:
    curves = {
        name: calibration.calibration_curve(rows.score, rows.label)
        for name, rows in scores_by_variant.items()
    }
    ends = np.concatenate([
        [*curve.predicted, *curve.observed] for curve in curves.values()
    ])
    diagonal = [np.min(ends), np.max(ends)]
    axes.plot(diagonal, diagonal, color=drawing.TEXT, linewidth=1.0, alpha=0.6)
    for name, curve in curves.items():
      axes.plot(
          curve.predicted, curve.observed, label=name, linewidth=1.4,
          **looks[name]._asdict(),
      )
    axes.set_aspect('equal')
    axes.set_xlabel('mean score, in tenths of the rows')
    axes.set_ylabel('share of label 1')
    drawing.legend(axes)

  return drawing.render('calibration', draw, height=4.6)


def stage_seconds(seconds: Mapping[str, float]) -> str:
  """Draws the wall time of each stage."""
  names = list(seconds)

  def draw(axes: mpl_axes.Axes) -> None:
    widths = list(seconds.values())
    axes.barh(range(len(names)), widths, 0.6, color=drawing.COLORS[0])
    for position, value in enumerate(seconds.values()):
      axes.annotate(
          f'{value:,.1f} s', (value, position), xytext=(5, 0),
          textcoords='offset points', va='center', fontsize=9,
      )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.set_xlabel('wall time (seconds)')

  return drawing.render('seconds', draw, height=1.0 + _BAR_HEIGHT * len(names))

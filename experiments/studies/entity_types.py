"""Two types of entities at once: users, and the videos they are shown."""

import numpy as np

from experiments import variants
from experiments.configs import kuairand_videos
from experiments.study import figures
from experiments.study import page as page_lib
from experiments.study import results as results_lib
from experiments.study import run as run_lib
from experiments.study import standard
from experiments.study import tables
from limaml_jax import config as config_lib
from limaml_jax import errors

TITLE = 'Two types of entities'
QUESTION = (
    'What is gained where videos are adapted, too, and the network of users'
    ' reads their meta embeddings?'
)

_NEITHER, _USERS, _VIDEOS, _BOTH, _RATES = (
    'neither', 'users', 'videos', 'both', 'users, past rates'
)  # fmt: skip
# Events of the video before the refresh that a row was scored under.
_COHORTS = {
    'not trained': (-1, -1),
    '0-3': (0, 3),
    '4-10': (4, 10),
    '11-30': (11, 30),
    '31-100': (31, 100),
    '101+': (101, np.inf),
}
_AGAINST = (_USERS, _RATES)
_GAIN = 'ROC-AUC gain of adapting videos by events of the video'


def runs(config: config_lib.Config) -> list[run_lib.Run]:
  """Returns networks that adapt users, videos, both and neither."""
  standard.require_by_time(config)
  if config.data.schema != 'kuairand':
    raise errors.InputError(
        f'--data: data.schema is {config.data.schema!r}; this study adapts the'
        ' videos of kuairand'
    )
  other = run_lib.Run('videos', settings=kuairand_videos.SETTINGS)
  return [
      run_lib.Run(_USERS),
      run_lib.Run(_BOTH, embeddings_of=other),
      run_lib.Run(_VIDEOS, variant=variants.GLOBAL, embeddings_of=other),
      run_lib.Run(_NEITHER, variant=variants.GLOBAL),
      run_lib.Run(_RATES, settings={'data.schema': 'kuairand_rates'}),
      standard.CONTROL,
  ]


def page(results: results_lib.Results) -> page_lib.Page:
  """Returns the quality of each, and the gain by events of the video."""
  results.require(_USERS, _BOTH)
  quality = tables.quality(
      results, 'All rows', reference=_USERS,
      note=(
          '"videos" and "both" read meta embeddings of videos, made by a run'
          ' of the same seed and as old as the last refresh. "videos" and'
          ' "neither" are the network without identity of users. Past rates are'
          ' of video, author, tags and tab, each up to the event itself.'
      ),
  )
  gains = _by_cohort(results)
  against = [name for name in _AGAINST if results.has(name)]
  rows = [
      [
          name, f'{measured.num_rows:,}',
          tables.value(measured.figure(_BOTH)),
          *(
              tables.with_interval(
                  measured.difference(_BOTH, other), signed=True
              )
              for other in against
          ),
      ]
      for name, measured in gains.items()
  ]  # fmt: skip
  headers = ['Events', 'rows', _BOTH]
  headers += [f'minus {other}\n95 % interval' for other in against]
  table = page_lib.Table(
      _GAIN, headers, rows,
      'Events of the video before the refresh that a row was scored under; "not'
      ' trained": it had less than two in training.',
  )
  series = {
      f'{_BOTH} - {other}': [
          (float(place), measured.difference(_BOTH, other))
          for place, measured in enumerate(gains.values())
      ]
      for other in against
  }
  svg = figures.lines(
      'videos', series, xlabel='events of the video before the refresh',
      ylabel='ROC-AUC gain', ticks=list(gains), zero=True,
  )
  drawing = page_lib.Drawing('videos', _GAIN, svg, 'Paired on the same rows.')
  return page_lib.Page(_answer(results), [quality, table], [drawing])


def _by_cohort(results):
  """Measures the rows of each cohort that has any."""
  labels = [
      name for name in (_BOTH, *_AGAINST) if results.has(name)
  ]
  sizes = results.item_history(_USERS)
  masks = {
      name: (sizes >= least) & (sizes <= most)
      for name, (least, most) in _COHORTS.items()
  }
  return {
      name: results.measure(labels, mask)
      for name, mask in masks.items()
      if mask.any()
  }


def _answer(results) -> str:
  sentences = [
      tables.in_words(
          'Users and videos adapted, minus users alone',
          results.whole.difference(_BOTH, _USERS),
      )
  ]
  if results.has(_VIDEOS, _NEITHER):
    sentences.append(tables.in_words(
        'Without identity of users, videos adapted minus not',
        results.whole.difference(_VIDEOS, _NEITHER),
    ))
  if results.has(_RATES):
    sentences.append(tables.in_words(
        'Both adapted, minus users adapted with past rates made by hand',
        results.whole.difference(_BOTH, _RATES),
    ))
  return '. '.join(sentences) + '.'

"""Looks for features that tell the label by themselves, on a sample."""

import duckdb
import numpy as np
import pyarrow as pa

from limaml_jax.data.log import raw_log
from limaml_jax.data.log import tables
from limaml_jax.data.profile import columns
from limaml_jax.data.profile import facts
from limaml_jax.data.profile import opening
from limaml_jax.data.profile import roc_auc
from limaml_jax.data.profile import subjects as subjects_lib

SUSPICIOUS = 0.95
_SAMPLE_ROWS = 200_000
_KEYS = ('entity', 'item')
_TIME = tables.quote(raw_log.TIME)


def find(
    connection: duckdb.DuckDBPyConnection,
    log: opening.OpenLog,
    subjects: list[subjects_lib.Subject],
    rows: int,
) -> tuple[int, tuple[facts.LeakFacts, ...]]:
  """Scores the label with each feature alone.

  Args:
    connection: DuckDB.
    log: the opened log.
    subjects: its columns.
    rows: of the log.

  Returns:
    Rows of the sample, and the features, the most telling first.
  """
  features = [subject for subject in subjects if subject.is_feature]
  (label,) = (subject for subject in subjects if subject.kind == 'label')
  sample = _sample(connection, log, label, features, rows)
  labels = sample['label'].to_numpy()
  halves = {key: _halves(sample[f'{key}_hash'].to_numpy()) for key in _KEYS}
  found = []
  for index, subject in enumerate(features):
    # What belongs to an item is told from the labels of other items, all else
    # from those of other entities: a name for the key is no leak.
    owner = 'item' if subject.table == 'item' else 'entity'
    score = _score(
        sample[f'f{index}'].combine_chunks(), subject, labels, halves[owner]
    )
    # A past feature knows labels, of the past alone.
    suspected = score is not None and score > SUSPICIOUS and not subject.is_past
    found.append(facts.LeakFacts(subject.name, score, suspected))
  found.sort(key=lambda leak: (-(leak.roc_auc or 0.0), leak.feature))
  return len(labels), tuple(found)


def _sample(connection, log, label, features, rows) -> pa.Table:
  """Returns the label, hashes of the keys and features of every n-th row."""
  step = -(-rows // _SAMPLE_ROWS)
  texts = {
      owner: f'CAST({tables.quote(log.key_of(owner))} AS VARCHAR)'
      for owner in _KEYS
  }
  kept = [f'CAST({label.number} AS TINYINT) AS label']
  kept += [f'{text} AS {owner}_key' for owner, text in texts.items()]
  kept += [f'{_TIME} AS event_time', *_values(features, opening.LOG)]
  known = ' AND '.join(
      f'({value}) IS NOT NULL' for value in (label.number, *texts.values())
  )
  connection.execute(
      f'CREATE TEMP TABLE sampled AS SELECT {", ".join(kept)} FROM'
      f' {opening.view(opening.LOG)} WHERE'
      f' hash({tables.FILE}, {tables.ROW}) % {step} = 0 AND {known}'
  )
  joins = ''.join(
      _join(owner, source, features)
      for owner, source in log.side_tables().items()
  )
  hashes = [f'hash({owner}_key) AS {owner}_hash' for owner in _KEYS]
  names = [f'f{index}' for index in range(len(features))]
  return connection.sql(
      f'SELECT {", ".join(["label", *hashes, *names])} FROM sampled{joins}'
  ).to_arrow_table()


def _join(owner, source, features):
  """Returns SQL that joins a side table's features, as of the event's time."""
  key = f'CAST({tables.quote(source.key)} AS VARCHAR)'
  same = f'{key}, {_TIME}' if source.valid_from else key
  since = f'{_TIME} AS since' if source.valid_from else '0 AS since'
  found = ', '.join([f'{key} AS key', since, *_values(features, owner)])
  rows = (
      f'(SELECT {found} FROM {opening.view(owner)} WHERE {key} IN (SELECT'
      f' {owner}_key FROM sampled) QUALIFY row_number() OVER (PARTITION BY'
      f' {same} ORDER BY {tables.FILE}, {tables.ROW}) = 1) AS {owner}_side'
  )
  same_key = f'{owner}_side.key = {owner}_key'
  if not source.valid_from:
    return f' LEFT JOIN {rows} ON {same_key}'
  holds = f'{owner}_side.since <= event_time'
  return f' ASOF LEFT JOIN {rows} ON {same_key} AND {holds}'


def _values(features, table):
  """Returns SQL for the features of a table, named by their positions."""
  result = []
  for index, subject in enumerate(features):
    if subject.table == table:
      value = f'CAST({subject.value} AS VARCHAR)'
      if subject.is_number:
        value = subject.number
      elif subject.kind == 'multi_hot':
        value = columns.elements(subject)
      result.append(f'{value} AS f{index}')
  return result


def _halves(hashes: np.ndarray) -> np.ndarray:
  """Splits rows in two, those of a key together, [rows]."""
  _, group = np.unique(hashes, return_inverse=True)
  return group % 2


def _score(values, subject, labels, halves):
  if subject.is_number:
    numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return roc_auc.of_numbers(numbers, labels)
  rows = np.arange(len(values))
  if subject.kind == 'multi_hot':
    lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    rows, values = np.repeat(rows, lengths), values.flatten()
  # An absent value is a category like others.
  codes = values.dictionary_encode(null_encoding='encode').indices
  return roc_auc.of_categories(
      codes.to_numpy(zero_copy_only=False), rows, labels, halves
  )

"""Shows what a log is like: tables for a terminal, plain text for a pipe."""

from collections.abc import Sequence
import sys

from rich import console as rich_console
from rich import table as rich_table

from limaml_jax.data.profile import facts

_PLAIN_WIDTH = 200
_MOST_DAYS = 20
_LONGEST_VALUE = 24
_TEXTS = ('in', 'kind', 'type', 'values', 'expected', '')


def show(log: facts.LogFacts) -> None:
  """Prints the facts, findings last."""
  terminal = sys.stdout.isatty()
  console = rich_console.Console(
      width=None if terminal else _PLAIN_WIDTH, highlight=False, markup=False
  )
  for line in _summary(log):
    console.print(line, soft_wrap=True)
  for title, header, rows in (
      _support(log), _days(log), _columns(log), _numbers(log), _frequent(log),
      _leaks(log), _coverage(log), _rejects(log),
  ):
    if not rows:
      continue
    if terminal:
      console.print(_table(title, header, rows))
    else:
      print(f'\n{title}')
      print('\n'.join(_plain([header, *rows])))
  console.print()
  if not log.findings:
    console.print('Nothing conspicuous.')
  for finding in log.findings:
    console.print(f'! {finding}', soft_wrap=True)


def _table(title, header, rows):
  table = rich_table.Table(title=title, title_justify='left')
  for index, name in enumerate(header):
    table.add_column(name, justify='left' if _is_text(index, name) else 'right')
  for row in rows:
    table.add_row(*row)
  return table


def _plain(rows: Sequence[Sequence[str]]) -> list[str]:
  """Returns aligned lines."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return [
      '  '.join(
          cell.ljust(width) if _is_text(index, name) else cell.rjust(width)
          for index, (name, cell, width) in enumerate(
              zip(rows[0], row, widths, strict=True)
          )
      ).rstrip()
      for row in rows
  ]


def _is_text(index, name):
  return index == 0 or name in _TEXTS


def _summary(log):
  rate = '-' if log.label_rate is None else f'{log.label_rate:.4f}'
  files = log.files[0]
  if len(log.files) > 1:
    files += f' and {len(log.files) - 1} more'
  yield f'{log.name}: {files}'
  yield (
      f'{log.rows:,} rows, {log.entities:,} entities, {log.items:,} items,'
      f' label rate {rate}'
  )
  if log.time.first:
    yield (
        f'{log.time.first} to {log.time.last},'
        f' {log.time.span_seconds / 86400:,.1f} days'
    )
  rejected = sum(one.rows for one in log.rejects if one.table == 'log')
  yield (
      f'{rejected:,} rows to be rejected, {log.repeated_rows:,} repeat entity,'
      ' item and time'
  )


def _support(log):
  counts = log.events_per_entity
  rows = [[f'{count:,}' for count in counts.values()]] if counts else []
  return 'Events per entity', list(counts), rows


def _days(log):
  rows = [
      [day.day, f'{day.rows:,}', _number(day.label_rate)] for day in log.days
  ]
  if len(rows) > _MOST_DAYS:
    half = _MOST_DAYS // 2
    left_out = f'... {len(rows) - 2 * half} days'
    rows = [*rows[:half], [left_out, '', ''], *rows[-half:]]
  title = f'Label rate by day ({log.time.zone})'
  return title, ['day', 'rows', 'label rate'], rows


def _columns(log):
  header = [
      'column', 'in', 'kind', 'type', 'rows', 'null', 'invalid',
      'out of range', 'distinct',
  ]  # fmt: skip
  rows = [
      [
          column.name, column.table, column.kind, column.type,
          f'{column.rows:,}', f'{column.nulls:,}', f'{column.invalid:,}',
          f'{column.out_of_range:,}', f'{column.distinct:,}',
      ]
      for column in log.columns
  ]  # fmt: skip
  return 'Columns and features', header, rows


def _numbers(log):
  rows = [
      [
          _qualified(column), _number(column.minimum), _number(column.mean),
          _number(column.maximum),
      ]
      for column in log.columns if column.mean is not None
  ]
  return 'Numbers', ['column', 'min', 'mean', 'max'], rows


def _frequent(log):
  rows = [
      [
          _qualified(column),
          ', '.join(
              f'{_shorten(value.value)} ({value.count:,})'
              for value in column.most_frequent
          ),
      ]
      for column in log.columns
      if column.most_frequent and column.most_frequent[0].count > 1
  ]
  return 'Most frequent values (rows)', ['column', 'values'], rows


def _rejects(log):
  rows = [
      [one.field, one.table, one.wanted, f'{one.rows:,}']
      for one in log.rejects
  ]
  return 'Rows to be rejected', ['what', 'in', 'expected', 'rows'], rows


def _leaks(log):
  rows = [
      [
          leak.feature, _number(leak.roc_auc),
          'suspected leak' if leak.suspected else '',
      ]
      for leak in log.leaks
  ]  # fmt: skip
  title = f'ROC-AUC of each feature alone ({log.sampled_rows:,} rows sampled)'
  return title, ['feature', 'ROC-AUC', ''], rows


def _coverage(log):
  rows = [
      [
          side.owner, f'{side.rows:,}', f'{side.repeated_keys:,}',
          f'{side.known_keys:,} of {side.log_keys:,}',
          f'{side.known_keys / max(side.log_keys, 1):.2%}',
      ]
      for side in log.coverage
  ]  # fmt: skip
  header = ['side table', 'rows', 'repeated keys', 'log keys found', 'share']
  return 'Side tables', header, rows


def _qualified(column):
  in_log = column.table == 'log'
  return column.name if in_log else f'{column.table}.{column.name}'


def _number(value):
  return '-' if value is None else f'{value:.4g}'


def _shorten(text):
  if len(text) <= _LONGEST_VALUE:
    return text
  return text[: _LONGEST_VALUE - 1] + '…'

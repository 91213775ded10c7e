"""Vocabularies: from the tokens of a column to rows of an embedding table.

Built from training rows alone. Row 0 is for whatever is out of vocabulary;
row i + 1 is token i.
"""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limaml_jax import cells
from limaml_jax.data.log import schema as schema_lib
from limaml_jax.data.log import values


def choose(
    texts: pa.Array, totals: np.ndarray, *, min_count: int
) -> pa.Array:
  """Returns the vocabulary of some tokens, the most frequent one first.

  Args:
    texts: distinct tokens.
    totals: training rows of each, [texts].
    min_count: training rows that a token needs.
  """
  kept = pa.array(totals >= max(min_count, 1))
  found = pa.table({'text': texts, 'total': pa.array(totals)}).filter(kept)
  order = [('total', 'descending'), ('text', 'ascending')]
  return found.sort_by(order)['text'].combine_chunks()


def count_tokens(
    texts: pa.Array, totals: np.ndarray, feature: schema_lib.Feature
) -> tuple[pa.Array, np.ndarray]:
  """Takes the texts of a multi_hot column apart.

  Args:
    texts: distinct joined tokens.
    totals: training rows of each, [texts].
    feature: says how to separate them and how many to keep.

  Returns:
    Distinct tokens, and the training rows of each.
  """
  counts: dict[str, float] = {}
  for text, total in zip(texts.to_pylist(), totals.tolist(), strict=True):
    for token in _split(text, feature):
      counts[token] = counts.get(token, 0) + total
  return (
      pa.array(counts, pa.string()),
      np.asarray(list(counts.values()), np.float64),
  )


def look_up(
    codes: np.ndarray, texts: pa.Array, vocabulary: pa.Array
) -> np.ndarray:
  """Returns the index of each cell, [cells] int32.

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct tokens.
    vocabulary: the known ones.
  """
  # Arrow makes its compute functions on import, unseen by type checkers.
  found = pc.index_in(texts, value_set=vocabulary)  # pyrefly: ignore
  rows = found.fill_null(-1).to_numpy(zero_copy_only=False) + 1
  # One more row at the end, which code -1 finds.
  return np.append(rows, 0).astype(np.int32)[codes]


def look_up_multi_hot(
    codes: np.ndarray,
    texts: pa.Array,
    feature: schema_lib.Feature,
    row_of: Callable[[str], int],
) -> np.ndarray:
  """Returns indices padded with -1, [cells, max_values] int32.

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct joined tokens.
    feature: says how to separate them and how many to keep.
    row_of: row of each token.
  """
  width = feature.max_values
  rows = np.full((len(texts) + 1, width), -1, np.int32)
  for row, text in enumerate(texts.to_pylist()):
    tokens = _split(text, feature)
    rows[row] = cells.distinct_rows(list(map(row_of, tokens)), width)
  return rows[codes]


def count(
    codes: np.ndarray, texts: pa.Array, weights: np.ndarray
) -> np.ndarray:
  """Returns the training rows of each text, [texts].

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct ones.
    weights: training rows that each cell stands for, [cells].
  """
  present = codes >= 0
  return np.bincount(codes[present], weights[present], minlength=len(texts))


def separate(text: str, feature: schema_lib.Feature) -> list[str]:
  """Takes the text of a multi_hot cell apart; repeated tokens stay."""
  is_list = text.startswith(values.LIST_SEPARATOR)
  separator = values.LIST_SEPARATOR if is_list else feature.separator
  return text.split(separator)


def _split(text: str, feature: schema_lib.Feature) -> Sequence[str]:
  return cells.distinct_tokens(separate(text, feature), feature.max_values)

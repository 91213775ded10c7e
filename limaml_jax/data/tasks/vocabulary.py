"""Vocabularies: from the tokens of a column to rows of an embedding table.

Built from training rows alone. Row 0 is for whatever is out of vocabulary;
row i + 1 is token i.
"""

from collections.abc import Sequence

import numpy as np

from limaml_jax.data.log import schema as schema_lib


def encode_categorical(
    codes: np.ndarray,
    texts: Sequence[str],
    *,
    weights: np.ndarray,
    min_count: int,
) -> tuple[list[str], np.ndarray]:
  """Returns the vocabulary and the index of each cell, [cells] int32.

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct tokens.
    weights: training rows that each cell stands for, [cells].
    min_count: training rows that a token needs.
  """
  vocabulary = _rank(texts, _count(codes, texts, weights), min_count)
  index = {token: row + 1 for row, token in enumerate(vocabulary)}
  # One more row at the end, which code -1 finds.
  rows = [index.get(text, 0) for text in texts] + [0]
  return vocabulary, np.asarray(rows, np.int32)[codes]


def encode_multi_hot(
    codes: np.ndarray,
    texts: Sequence[str],
    feature: schema_lib.Feature,
    *,
    weights: np.ndarray,
    min_count: int,
) -> tuple[list[str], np.ndarray]:
  """Returns the vocabulary and indices padded with -1, [cells, max_values].

  Args:
    codes: position in `texts` of each cell, -1 where it is empty, [cells].
    texts: distinct joined tokens.
    feature: says how to separate them and how many to keep.
    weights: training rows that each cell stands for, [cells].
    min_count: training rows that a token needs.
  """
  totals = _count(codes, texts, weights)
  lists = [_split(text, feature) for text in texts]
  counts: dict[str, float] = {}
  for tokens, total in zip(lists, totals, strict=True):
    for token in tokens:
      counts[token] = counts.get(token, 0.0) + total
  vocabulary = _rank(list(counts), list(counts.values()), min_count)
  index = {token: row + 1 for row, token in enumerate(vocabulary)}
  rows = np.full((len(texts) + 1, feature.max_values), -1, np.int32)
  for row, tokens in enumerate(lists):
    found = list(dict.fromkeys(index.get(token, 0) for token in tokens))
    rows[row, :len(found)] = found
  return vocabulary, rows[codes]


def _count(codes, texts, weights):
  present = codes >= 0
  return np.bincount(codes[present], weights[present], minlength=len(texts))


def _rank(tokens, counts, min_count):
  """Orders tokens by descending count, then by name."""
  least = max(min_count, 1)
  kept = [
      (-count, token)
      for token, count in zip(tokens, counts, strict=True)
      if count >= least
  ]
  return [token for _, token in sorted(kept)]


def _split(text, feature):
  tokens = (token.strip() for token in text.split(feature.separator))
  distinct = dict.fromkeys(token for token in tokens if token)
  return list(distinct)[:feature.max_values]

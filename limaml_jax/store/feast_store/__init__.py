"""Feast: a copy of the published snapshot in the online store of a Feast repo.

For scorers that ask Feast for all their features, by its own
`get_online_features`. Needs the extra `feast`, and no JAX.
"""

import importlib.util

if importlib.util.find_spec('feast') is None:
  raise ModuleNotFoundError(
      "feast is not installed; pip install '.[feast]'", name='feast'
  )

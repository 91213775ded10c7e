"""Containers that flow through every station, and the legend of axis letters.

Axes, used in every docstring:
  T tasks of a meta-batch     S support rows of a task    Q query rows of one
  K inner steps                R distinct meta-block input rows of a task:
  F features                     1 when they belong to the entity, else S (or
                                 Q); 1 + S where a history is read
  E meta embedding             C candidates of a request
  N entities of a refresh      V rows of an embedding table
  M members of an ensemble

Whatever belongs to a kind of entity (meta blocks, meta features, embeddings)
is a dict keyed by the entity type, e.g. 'user'.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

# The one place where these are untyped: any pytree of arrays.
Params = Any
EncodedFeatures = Any  # What a network makes of a row's raw features.
EntityType = str
Array = jax.Array | np.ndarray
# By the name of a feature or of an embedding table.
Features = Mapping[str, Array]
HostFeatures = dict[str, np.ndarray]
Tables = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class FeatureSpec:
  """What the network needs to know of one feature, fixed when tasks are made.

  Attributes:
    name: of the feature, and of its embedding table if it has one.
    kind: 'categorical' or 'bucketized' (an index, []), 'multi_hot' (indices
      padded with -1, [max_values]) or 'numeric' (a float, []).
    owner: whose it is: 'entity', 'item' or 'context' (the event itself).
    role: where it goes: 'meta' block, 'global' block or 'both'.
    num_rows: V of its vocabulary, or of its buckets and one more; row 0 is for
      whatever is out of vocabulary, or empty; 0 for numeric.
    max_values: width of a multi_hot feature, else 0.
    mean: of a numeric feature over training rows.
    std: of a numeric feature over training rows, never 0.
    transform: of a numeric feature before all else: 'log1p' or none.
    boundaries: between the buckets of a bucketized feature, ascending, 32-bit
      numbers; each is the least value of the bucket above it.
    hash_buckets: rows that tokens are hashed to; 0 for a vocabulary.
    per_event: whether the entity's value may differ from event to event.
  """

  name: str
  kind: str
  owner: str
  role: str
  num_rows: int = 0
  max_values: int = 0
  mean: float = 0.0
  std: float = 1.0
  transform: str = ''
  boundaries: tuple[float, ...] = ()
  hash_buckets: int = 0
  per_event: bool = False


class Examples(NamedTuple):
  """Labelled rows of one task; a row with mask 0 is padding.

  A real row of weight w counts like w rows of weight 1: a mean over rows is
  sum(mask * x) / sum(mask), and sum(mask) the rows that a task is worth. It may
  be below 1; what counts real rows counts mask > 0.

  Attributes:
    meta_features: per entity type, the meta block's inputs: raw features with
      leaves [R, ...], or once encoded one array [R, F]. Of 1 + S encoded rows
      the first makes the embedding, the others go with the rows.
    features: the global block's inputs: raw features with leaves [S, ...], or
      once encoded what it makes of them without any embedding.
    labels: what is learned of the rows, 0 or 1, or between where the schema
      gives a target, [S].
    mask: weight of real rows, above 0 and 1 where the log has none; 0 for
      padding, [S].
    ages: seconds from each row to the latest real one, 0 for padding, [S]; None
      where no two rows are of the same time.
  """

  meta_features: dict[EntityType, Any]
  features: Any
  labels: Array
  mask: Array
  ages: Array | None = None


class Episode(NamedTuple):
  """One draw of a task: learn on `support`, be judged on the later `query`.

  Attributes:
    support: leaves [S, ...]; may be all padding (a cold-start entity).
    query: leaves [Q, ...]; each support row is strictly earlier than each
      query row.
    weight: of the task in the meta loss, []; 0 for a padding task.
  """

  support: Examples
  query: Examples
  weight: Array


class BlockParams(NamedTuple):
  """Everything that meta-training learns.

  Of an ensemble all leaves have an axis M in front, but for tables while they
  are trained: [V, M dimension]. See `blocks.ensemble`.

  Attributes:
    meta_block: per entity type, the shared initialization that the inner loop
      starts from.
    global_block: shared by all tasks, constant in the inner loop.
    tables: embedding tables by name, [V, dimension]; rows are gathered
      before anything is differentiated.
    inner_rates: per entity type, logarithms of the learned inner learning
      rates, shaped like `meta_block` with leaves [K]; empty when the rate is
      fixed.
    history: per entity type, the history encoder, constant in the inner loop;
      empty where the meta block reads no history.
  """

  meta_block: dict[EntityType, Params]
  global_block: Params
  tables: Tables
  inner_rates: dict[EntityType, Params]
  history: dict[EntityType, Params]


# (meta_params, global_params, examples of one task) -> mean loss, [].
TaskLossFn = Callable[[Params, Params, Examples], jax.Array]
# (adapted, global_params, support, query) -> mean loss of the query, [].
QueryLossFn = Callable[[Params, Params, Examples, Examples], jax.Array]

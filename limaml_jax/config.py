"""Settings of the library: frozen, typed, printable; no flag is read here."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ProtocolConfig:
  """Which events train, which are tested, and how often embeddings refresh.

  Attributes:
    split: 'within_entity' tests the last `test_fraction` of each entity's
      events; 'by_time' tests events in [train_end, test_end).
    test_fraction: of each entity's events, for 'within_entity'.
    new_entity_fraction: of the entities, for 'within_entity': held out of
      training as newcomers, who are tested right after 0, 3 or 12 events.
    validation_start: ISO time with zone, for 'by_time'.
    train_end: ISO time with zone, for 'by_time'.
    test_end: ISO time with zone, for 'by_time'.
    refresh_hours: embeddings are regenerated this often from `train_end` on;
      0 generates them once.
    phase: 'test', or 'validation' which hides every test event and tests the
      window just before it (what settings are searched on).
  """

  split: str = 'within_entity'
  test_fraction: float = 0.2
  new_entity_fraction: float = 0.0
  validation_start: str = ''
  train_end: str = ''
  test_end: str = ''
  refresh_hours: int = 0
  phase: str = 'test'


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where the log lies and how it becomes tasks.

  Attributes:
    schema: TOML file under experiments/schemas, or any path to one.
    task_entity: entity type that is adapted.
    min_count: a category rarer than this in training rows shares the
      out-of-vocabulary row.
    max_events_per_entity: an entity keeps only so many of its latest events
      before its first test event; 0 for all.
  """

  schema: str = 'ml100k'
  task_entity: str = 'user'
  min_count: int = 2
  max_events_per_entity: int = 0


@dataclasses.dataclass(frozen=True)
class EpisodeConfig:
  """How episodes are drawn from tasks and padded.

  Attributes:
    tasks_per_step: T, tasks in one meta-batch.
    support_buckets: padded support sizes, ascending; the last one caps the
      support at the entity's latest events.
    query_buckets: padded query sizes, ascending; the last one caps a query.
    num_support_buckets: smaller ones are added, those that save the data most
      padding, until there are so many; each pair of a support's and a query's
      costs a compilation.
    num_query_buckets: likewise.
    support_dropout: probability that an episode keeps only a random number of
      its latest support rows, zero included; at zero it also forgets the
      entity's ID, so that cold start is trained.
    support_dropout_end: that probability at the end of training, which it
      moves to linearly; -1 keeps it as it is.
    support_half_life_days: a support row counts half as much for each so many
      days that it is older than the latest one of its support, in training
      and in serving; 0 counts all alike.
    support_half_life_events: likewise, for each so many events after it.
    task_weighting: 'task' counts every task alike in the meta loss, 'row' by
      its query rows, each as much as its event weighs.
  """

  tasks_per_step: int = 256
  support_buckets: tuple[int, ...] = (32,)
  query_buckets: tuple[int, ...] = (16,)
  num_support_buckets: int = 2
  num_query_buckets: int = 1
  support_dropout: float = 0.2
  support_dropout_end: float = -1.0
  support_half_life_days: float = 0.0
  support_half_life_events: float = 0.0
  task_weighting: str = 'row'


@dataclasses.dataclass(frozen=True)
class MetaBlockConfig:
  """The adapted half of the network.

  Attributes:
    kind: 'mlp' maps the entity's features; 'id_embedding' is a row of the
      entity's own plus, where the entity has features, an MLP of them;
      'deep_sets' and 'transformer' map the features, if there are any, and a
      summary of the support rows by a history encoder of that kind.
    widths: of the hidden layers.
    embedding_size: numbers in a meta embedding; E, but for an ensemble.
    activation: of the hidden layers, 'relu', 'gelu', 'tanh' or 'silu'.
    layer_norm: normalizes each hidden layer before its activation.
    compute_dtype: 'float32' or 'bfloat16'; parameters stay float32.
    pooling: 'latest', 'mean' or 'max' over a task's support rows, where the
      meta features vary from row to row.
    history_width: of the history encoder, and of its summaries.
    history_layers: of the history encoder.
    history_heads: of a transformer's attention, which divide its width.
  """

  kind: str = 'mlp'
  widths: tuple[int, ...] = (64,)
  embedding_size: int = 32
  activation: str = 'relu'
  layer_norm: bool = False
  compute_dtype: str = 'float32'
  pooling: str = 'latest'
  history_width: int = 32
  history_layers: int = 1
  history_heads: int = 2

  @property
  def reads_history(self) -> bool:
    """Whether the kind has a history encoder."""
    return self.kind in ('deep_sets', 'transformer')


@dataclasses.dataclass(frozen=True)
class GlobalBlockConfig:
  """The shared half of the network, all that runs online.

  Attributes:
    widths: of the hidden layers.
    num_cross_layers: cross layers (DCN-v2) in front of the hidden layers.
    wide: adds a linear path from the inputs to the logit.
    bilinear: adds the product of the embedding and a linear map of the
      features: matrix factorization beside the hidden layers.
    compute_dtype: 'float32' or 'bfloat16'; parameters and logits stay float32.
  """

  widths: tuple[int, ...] = (128, 64)
  num_cross_layers: int = 0
  wide: bool = True
  bilinear: bool = False
  compute_dtype: str = 'float32'


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """Both halves and the embedding tables in front of them.

  Attributes:
    meta_block: the adapted half.
    global_block: the shared half.
    max_table_dimension: columns of the largest embedding tables; small
      vocabularies get fewer, 2 V^(1/4).
    table_init_scale: standard deviation of a table's initial values.
    ensemble_size: M, networks that are trained beside each other, and whose
      logits are averaged: M times the work, an embedding M times as long.
  """

  meta_block: MetaBlockConfig = MetaBlockConfig()
  global_block: GlobalBlockConfig = GlobalBlockConfig()
  max_table_dimension: int = 16
  table_init_scale: float = 0.05
  ensemble_size: int = 1


@dataclasses.dataclass(frozen=True)
class InnerLoopConfig:
  """Adaptation of the meta block on one support set.

  Attributes:
    num_steps: K; 0 is ordinary training without adaptation.
    learning_rate: of every step, and where learned rates start.
    learned_rates: learns one rate per parameter array and step.
    prior_rows: weight of the shared initialization, in support rows: rows of
      total weight n move the meta block n / (n + prior_rows) of each step.
    first_order: drops the second derivatives (FOMAML).
    implementation: 'low_rank' keeps adapted kernels as factors, 'plain' whole,
      'auto' takes what is cheaper for each kernel; the numbers are the same.
    remat: recomputes inner steps in the backward pass: less memory, more time
      on GPU and TPU; XLA's CPU compiler keeps them all the same.
  """

  num_steps: int = 2
  learning_rate: float = 1.0
  learned_rates: bool = False
  prior_rows: float = 0.0
  first_order: bool = False
  implementation: str = 'auto'
  remat: bool = False


@dataclasses.dataclass(frozen=True)
class OuterLoopConfig:
  """Meta-training.

  Attributes:
    num_epochs: passes over the training rows, each a query row once.
    learning_rate: peak rate of Adam for the dense parameters.
    table_optimizer: of gathered table rows: 'adam', or 'row_wise_adagrad',
      which keeps one number for each row instead of two for each weight.
    table_learning_rate: peak rate of that optimizer.
    weight_decay: decoupled, of dense kernels and of gathered table rows.
    warmup_fraction: of all steps, linear; then cosine decay to a tenth.
    gradient_clip: global norm of the dense gradient.
    early_loss_share: of the meta loss, held evenly by the query losses after
      inner steps 1 to K - 1; the one after step K, which is served, has the
      rest. Nothing where K is below 2.
    embedding_penalty: coefficient of the squared distance between a task's
      meta embedding and what the unadapted meta block would have made.
    ranking_loss: 'pairwise', logistic over each pair of a positive and a
      negative row of a query, or 'listwise', softmax over all its rows.
    ranking_weight: of that loss beside the cross-entropy of the query.
    holdout_fraction: of the training rows, the latest ones: they do not train,
      their query loss judges each checkpoint, and the best one is served; with
      0 all rows train, and the newest checkpoint is served.
  """

  num_epochs: int = 3
  learning_rate: float = 2e-3
  table_optimizer: str = 'adam'
  table_learning_rate: float = 2e-3
  weight_decay: float = 1e-4
  warmup_fraction: float = 0.05
  gradient_clip: float = 5.0
  early_loss_share: float = 0.0
  embedding_penalty: float = 0.0
  ranking_loss: str = 'pairwise'
  ranking_weight: float = 0.0
  holdout_fraction: float = 0.0


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """The run around meta-training.

  Attributes:
    seed: of initialization, order of tasks and support dropout.
    log_every: outer steps between metric records.
    checkpoint_every: outer steps between checkpoints; the last step is always
      saved.
    mesh_rows: devices that each embedding table is divided over by row, mesh
      axis `rows`; the devices along the other axis, `tasks`, hold copies.
      Tasks are divided over all devices. A run may go on with another number.
    memory_budget_bytes: on each device, for what the meta-gradient holds
      besides its result: a meta-batch that is predicted to need more is
      accumulated in microbatches; 0 is about 32 MB on CPUs, where a step
      runs fastest near the caches, and no limit elsewhere.
  """

  seed: int = 0
  log_every: int = 20
  checkpoint_every: int = 500
  mesh_rows: int = 1
  memory_budget_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class RefreshConfig:
  """Generation of meta embeddings.

  Attributes:
    entities_per_chunk: N, adapted at once.
    max_age_hours: an embedding older than this is served as STALE; 0 never.
  """

  entities_per_chunk: int = 2048
  max_age_hours: int = 0


@dataclasses.dataclass(frozen=True)
class Config:
  """One experiment: everything that decides its result."""

  data: DataConfig = DataConfig()
  protocol: ProtocolConfig = ProtocolConfig()
  episodes: EpisodeConfig = EpisodeConfig()
  model: ModelConfig = ModelConfig()
  inner_loop: InnerLoopConfig = InnerLoopConfig()
  outer_loop: OuterLoopConfig = OuterLoopConfig()
  training: TrainingConfig = TrainingConfig()
  refresh: RefreshConfig = RefreshConfig()

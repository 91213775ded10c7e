r"""Makes features of another run's embeddings, of the time of each event.

    python -m experiments.embedding_features --data=runs/videos/tasks \
        --workdir=runs/videos/limaml --schema=kuairand --data_dir=DIR \
        --output=DIR2

Two types of entities at once: a run whose entities are videos is refreshed over
its whole log, as often as its protocol says, and OUTPUT gets a schema by which
the network of users reads of each video the embedding that a service would
have had at the time of the event; beside it the side table, and links to the
files of --data_dir. Prepare and train with OUTPUT/schema.toml as with another
schema (docs/entity_types.md).
"""

import pathlib

from absl import flags

from experiments import binary
from experiments import pipeline
from experiments import progress
from experiments.embedding_features import writing

flags.adopt_module_key_flags(binary)

_DATA = flags.DEFINE_string(
    'data', None, 'Dataset of the run whose embeddings are read.', required=True
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Of that run.', required=True)
_SCHEMA = flags.DEFINE_string(
    'schema',
    None,
    'Of the log whose items are the entities of that run: a path, or a name '
    'under experiments/schemas.',
    required=True,
)
_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'That the files of --schema are relative to.',
    required=True,
)  # fmt: skip
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Receives schema, side table and links.', required=True
)


def main() -> None:
  """Writes the features."""
  data = pipeline.load(_DATA.value)
  with progress.bar('refresh') as update:
    written = writing.write(
        data,
        pathlib.Path(_WORKDIR.value),
        schema=pipeline.schema_path(_SCHEMA.value),
        data_dir=pathlib.Path(_DATA_DIR.value),
        output=pathlib.Path(_OUTPUT.value),
        on_progress=update,
    )
  print(f'{written.table}: of {written.num_refreshes} refreshes')
  print(
      f'{written.schema}: pass it as --config.data.schema, with'
      f' --data_dir={_OUTPUT.value} and the same protocol, {data.info.protocol}'
  )


if __name__ == '__main__':
  binary.run(main)

"""Writes the files of a small log in another format."""

import gzip

import pyarrow.csv
import pyarrow.parquet as pq


def to_format(log, name):
  """Writes all files anew in a format, and says so in the schema."""
  for path in sorted(log.raw.glob('*.csv')):
    if name == 'gz':
      path.with_suffix('.csv.gz').write_bytes(gzip.compress(path.read_bytes()))
    elif name == 'parquet':
      table = pyarrow.csv.read_csv(path)
      pq.write_table(table, path.with_suffix('.parquet'))
    elif name == 'atomic':
      text = path.read_text().replace(',', '\t')
      path.with_suffix('.inter').write_text(text)
    if name != 'csv':
      path.unlink()
  suffix = {'csv': 'csv', 'gz': 'csv.gz', 'atomic': 'inter'}.get(name, name)
  kind = {'gz': 'csv'}.get(name, name)
  text = log.schema.read_text().replace('.csv"', f'.{suffix}"')
  log.schema.write_text(text.replace('format = "csv"', f'format = "{kind}"'))

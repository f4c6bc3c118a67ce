"""How CSV is read, here and in train.py: kept apart from pyarrow, which takes a tenth of a second to load."""

ENDINGS = (".csv", ".parquet")
BLOCK_BYTES = 2**24
"""Of a CSV, from whose first block the kinds of columns are told."""
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
MAX_CLASSES = 10_000
"""Of data that somebody brought: their counts stand in every spec that names the data."""

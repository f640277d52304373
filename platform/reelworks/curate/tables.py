"""Reading the stored Parquet tables."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def read_table(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """A table from its bytes; only the named columns if any. Raises pyarrow.ArrowInvalid where they are none.

    In this thread, from Arrow's own buffer: a thread of Arrow's that lets go of a Python file while the interpreter
    ends aborts the process, and a command that did all it should exits with 134.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    return file.read(columns=None if columns is None else list(columns), use_threads=False)

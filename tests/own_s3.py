"""An S3 server of a benchmark's or chaos suite's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.stack import Stack


@contextmanager
def own_s3(folder: Path) -> Iterator[None]:
    """A SeaweedFS with its buckets, address and credentials in the environment; models are cached in the folder too."""
    stack = Stack(folder / "stack")
    environment = stack.up(("s3",), say=lambda line: None)
    os.environ.update({key: value for key, value in environment.items() if key.startswith("AWS_")})
    os.environ["REELWORKS_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        stack.down(say=lambda line: None)

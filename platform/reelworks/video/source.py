"""What a caller may name as a source, opened as one seekable binary file."""

import io
import os
from pathlib import Path
from typing import BinaryIO, cast

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the file's bytes, a seekable binary file object, or an `s3://bucket/key` URI."""


def open_source(source: Source) -> tuple[BinaryIO, bool]:
    """Open a source for reading; the flag says whether the caller of this function must close it.

    Raises OSError for paths, StorageError for URIs.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), True
    if isinstance(source, str) and source.startswith("s3://"):
        from reelworks.storage import open_ranged

        return cast(BinaryIO, open_ranged(source)), True
    if isinstance(source, (str, os.PathLike)):
        return Path(source).open("rb"), True
    return source, False


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Up to `size` bytes from a place on; fewer only where the file ends.

    One read of a file whose bytes cost requests gives what is at hand, so it takes several.
    """
    file.seek(at)
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def size_of(file: BinaryIO) -> int:
    """Bytes of a seekable file; its position is 0 afterwards."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size

"""A reader that stays open for the next part of its source, where that can only be reached through all before it.

Films are cut into chunks that are decoded by many calls; a walk from the start for each costs their number squared.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from reelworks.video.decode import open_video
from reelworks.video.sandbox import SandboxedReader
from reelworks.video.seeking import INDEXED
from reelworks.video.source import Source, open_source


class _Kept:
    """At most one reader of this process. A fork has none: its parent goes on using it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[int, Hashable, SandboxedReader] | None = None

    def take(self, key: Hashable) -> SandboxedReader | None:
        with self._lock:
            if self._held is None or self._held[:2] != (os.getpid(), key):
                return None
            (_, _, reader), self._held = self._held, None
            return reader

    def keep(self, key: Hashable, reader: SandboxedReader) -> None:
        with self._lock:
            before, self._held = self._held, (os.getpid(), key, reader)
        if before is not None and before[0] == os.getpid():
            before[2].close()


_KEPT = _Kept()


@contextmanager
def open_onward(source: Source, key: Hashable | None) -> Iterator[SandboxedReader]:
    """`open_video` for a caller who reads parts of the source, most often in order.

    `key` names the very bytes of a source that is a file object: who comes with the same one gets the same reader,
    where it left off. With None none is kept. Raises as `open_video` does.
    """
    if key is None:
        with open_video(source) as fresh:
            yield fresh
        return
    reader = _KEPT.take(key) or SandboxedReader(open_source(source)[0])
    try:
        yield reader
    except BaseException:
        reader.close()
        raise
    if reader.well and reader.probe.container not in INDEXED:
        _KEPT.keep(key, reader)
    else:
        reader.close()

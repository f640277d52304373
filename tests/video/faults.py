"""Decoders that hang, die or eat memory: marks at the end of a file, obeyed only by children of an `armed` process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from unittest.mock import patch

from reelworks.video import child, forkserver, sandbox, worker
from reelworks.video.reader import Reader

_MARK = b"reelworks fault "
_NAME_BYTES = 16
_BLOCK_BYTES = 64 << 20


def _sleep() -> None:
    time.sleep(1e6)


def _spin() -> None:
    while True:
        pass


def _die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _abort() -> None:
    os.abort()


def _eat() -> None:
    """Pages that are written, so that they take memory and not only addresses."""
    blocks = []
    while True:
        blocks.append(b"\x01" * _BLOCK_BYTES)


def _ask() -> None:
    """All at once, as for a picture whose header claims a size."""
    bytearray(1 << 40)


FAULTS: dict[str, Callable[[], None]] = {
    "sleep": _sleep, "spin": _spin, "die": _die, "abort": _abort, "eat": _eat, "ask": _ask
}  # fmt: skip


def marked(data: bytes, fault: str, when: str = "open") -> bytes:
    """The file with a fault that strikes when it is opened, or with its first `batches`."""
    return data + _MARK + f"{fault}@{when}".encode().ljust(_NAME_BYTES)


def arm() -> None:
    """Children of the fork server that this process starts later obey the marks."""
    forkserver._START = _faulty_start()


@contextmanager
def armed() -> Iterator[None]:
    """Children that this process starts meanwhile obey the marks; its others come back afterwards."""
    server, pool = forkserver.ForkServer(), sandbox._Pool()
    with (
        patch.object(forkserver, "_START", _faulty_start()),
        patch.object(child, "_SERVER", server),
        patch.object(sandbox, "_POOL", pool),
    ):
        try:
            yield
        finally:
            pool.stop()
            server.stop()


def _faulty_start() -> str:
    start = forkserver._START.replace("from reelworks.video.worker import main", f"from {__name__} import main")
    assert start != forkserver._START
    return start


def main(descriptor: int) -> None:
    """The fork server, with a reader that obeys."""
    worker.Reader = FaultyReader  # type: ignore[misc]
    worker.main(descriptor)


class FaultyReader(Reader):
    """Strikes where a mark in its file says so."""

    def __init__(self, file: BinaryIO, *arguments: Any, **options: Any):
        file.seek(-len(_MARK) - _NAME_BYTES, os.SEEK_END)
        mark, name = file.read(len(_MARK)), file.read(_NAME_BYTES)
        self._fault, self._when = name.decode("latin-1").strip().split("@") if mark == _MARK else ("", "")
        self._strike("open")
        super().__init__(file, *arguments, **options)

    def batches(self, *arguments: Any, **options: Any) -> Any:
        self._strike("batches")
        return super().batches(*arguments, **options)

    def _strike(self, when: str) -> None:
        if self._when == when:
            FAULTS[self._fault]()

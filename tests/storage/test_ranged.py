import io
import random

import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind

DATA = random.Random(0).randbytes(1_000_000)


def test_random_seeks_and_reads_equal_those_of_a_file(prefix: str) -> None:
    stored = storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v", etag=stored.etag, size=len(DATA), read_ahead=4096)
    local, draw = io.BytesIO(DATA), random.Random(1)
    for _ in range(200):
        whence = draw.choice([0, 0, 1, 2])
        offset = draw.randrange(-500_000, 500_000) if whence else draw.randrange(len(DATA))
        if whence == 1 and local.tell() + offset < 0 or whence == 2 and len(DATA) + offset < 0:
            continue
        assert remote.seek(offset, whence) == local.seek(offset, whence)
        size = draw.randrange(0, 20_000)
        assert remote.read(size) == local.read(size)


def test_sequential_reading_takes_few_requests_and_no_byte_twice(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v")
    while remote.read(10_000):
        pass
    assert remote.requests <= 5
    assert remote.bytes_read == len(DATA)


def test_header_and_index_cost_their_windows_not_the_file(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v", read_ahead=65536)
    remote.read(32)
    remote.seek(-1000, io.SEEK_END)
    remote.read()
    remote.seek(0)
    remote.read(1000)
    assert (remote.requests, remote.bytes_read) == (2, 65536 + 1000)


def test_an_object_replaced_while_it_is_read_ends_as_changed(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v")
    remote.read(10)
    storage.delete(f"{prefix}/v")
    storage.create_once(f"{prefix}/v", DATA[::-1])
    remote.seek(500_000)
    with pytest.raises(StorageError) as caught:
        remote.read(10)
    assert caught.value.kind is StorageErrorKind.changed

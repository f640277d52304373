import io
import random

import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage import ranged

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
    assert remote.requests <= 9
    assert remote.bytes_read == len(DATA)


def test_what_is_fetched_behind_the_last_byte_read_is_a_quarter_of_it_at_most(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    for wanted in range(100_000, 900_000, 100_000):
        remote = storage.open_ranged(f"{prefix}/v", read_ahead=4096)
        for _ in range(wanted // 1000):
            remote.read(1000)
        assert remote.bytes_read <= 1.25 * wanted + 8192


def test_an_expected_range_is_fetched_exactly_in_one_request(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v")
    remote.expect(200_000, 700_000)
    remote.seek(200_000)
    pieces = [remote.read1(65_536) for _ in range(8)]
    assert b"".join(pieces) == DATA[200_000:700_000]
    assert (remote.requests, remote.bytes_read) == (1, 500_000)
    assert [remote.holds(at) for at in (199_999, 200_000, 699_999, 700_000)] == [False, True, True, False]
    assert remote.read1(10) == DATA[700_000:700_010]


def test_what_is_kept_costs_another_reader_of_the_process_nothing(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    first = storage.open_ranged(f"{prefix}/v")
    first.read(100)
    first.expect(0, 300_000, keep=True)
    assert first.read(299_900) == DATA[100:300_000]
    other = storage.open_ranged(f"{prefix}/v", etag=first.etag, size=len(DATA))
    assert other.read(300_000) == DATA[:300_000]
    assert (first.requests, other.requests) == (2, 0)
    stranger = storage.open_ranged(f"{prefix}/v", etag="0" * 32, size=len(DATA))
    with pytest.raises(StorageError):
        stranger.read(10)


def test_kept_bytes_are_bounded_and_the_source_used_longest_ago_goes_first(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged, "SHARED_BYTES", 500_000)
    monkeypatch.setattr(ranged, "_shared", ranged._Shared())
    for name in "abc":
        stored = storage.create_once(f"{prefix}/{name}", DATA)
        one = storage.open_ranged(f"{prefix}/{name}", etag=stored.etag, size=len(DATA))
        one.expect(0, 200_000, keep=True)
        one.read(200_000)
    again = [storage.open_ranged(f"{prefix}/{name}", etag=stored.etag, size=len(DATA)) for name in "abc"]
    for file in again:
        assert file.read(10) == DATA[:10]
    assert [file.requests for file in again] == [1, 0, 0]


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


def test_a_kept_window_around_another_one_is_found(prefix: str) -> None:
    storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v")
    for start, stop in ((100_000, 200_000), (50_000, 300_000)):
        remote.expect(start, stop, keep=True)
        remote.seek(start)
        assert remote.read(1) == DATA[start : start + 1]
    remote.seek(250_000)
    assert remote.read(1000) == DATA[250_000:251_000]
    assert remote.requests == 2


def test_one_reader_keeps_no_more_than_all_may(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "SHARED_BYTES", 100_000)
    storage.create_once(f"{prefix}/v", DATA)
    remote = storage.open_ranged(f"{prefix}/v", read_ahead=4096)
    for start in range(0, 1_000_000, 10_000):
        remote.expect(start, start + 10_000, keep=True)
        remote.seek(start)
        assert remote.read(10_000) == DATA[start : start + 10_000]
    assert sum(len(window.data) for window in remote._kept) <= 100_000

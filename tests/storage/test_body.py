"""reelworks.storage.body: what a server does in the middle of an answer ends within a limit, in the right kind."""

from __future__ import annotations

import random
import time
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage import body, client, pace
from reelworks.storage.pace import sender
from tests.storage.tap import Tap

DATA = random.Random(0).randbytes(300_000)
SPOILT = ["cut", "stall", "drip"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of a second or two instead of a minute, for new clients and old ones."""
    monkeypatch.setattr(client, "READ_S", 1.5)
    monkeypatch.setattr(client, "ATTEMPTS", 3)
    monkeypatch.setattr(pace, "GRACE_S", 0.5)
    monkeypatch.setattr(client, "_clients", {})


@pytest.fixture
def uri(prefix: str, s3_server: str) -> str:
    storage.create_once(f"{prefix}/v", DATA)
    return f"{prefix}/v"


@pytest.mark.parametrize("spoilt", [*SPOILT, "503", "gone"])
def test_an_answer_that_breaks_off_is_asked_for_again(tap: Tap, impatient: None, uri: str, spoilt: str) -> None:
    tap.spoil = iter([spoilt])
    assert storage.get_bytes(uri, start=1000, length=200_000) == DATA[1000:201_000]
    assert len(tap.gets()) == 2


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_read_is_given_up_after_three_broken_bodies(tap: Tap, impatient: None, uri: str, spoilt: str) -> None:
    tap.spoil = repeat(spoilt)
    begun_s = time.monotonic()
    with pytest.raises(StorageError, match="its body broke off after") as caught:
        storage.get_bytes(uri)
    assert (caught.value.kind, len(tap.gets())) == (StorageErrorKind.storage, body.READ_ATTEMPTS)
    assert time.monotonic() - begun_s < body.READ_ATTEMPTS * (client.READ_S + pace.GRACE_S) + 2


def test_files_and_ranged_reads_are_given_up_alike(tap: Tap, impatient: None, uri: str, tmp_path: Path) -> None:
    tap.spoil = repeat("cut")
    for read in (lambda: storage.get_file(uri, tmp_path / "x"), lambda: storage.open_ranged(uri).read()):
        tap.clear()
        with pytest.raises(StorageError, match="broke off") as caught:
            read()
        assert (caught.value.kind, len(tap.gets())) == (StorageErrorKind.storage, body.READ_ATTEMPTS)


def test_a_file_that_broke_off_is_written_again_from_its_start(
    tap: Tap, impatient: None, uri: str, tmp_path: Path
) -> None:
    tap.spoil = iter(["cut", "stall"])
    storage.get_file(uri, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_server_that_is_only_slow_is_waited_for(
    tap: Tap, impatient: None, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SLOWEST_BYTES_S", 10)
    tap.spoil = iter(["drip"])
    assert storage.get_bytes(uri, start=0, length=80) == DATA[:80]
    assert len(tap.gets()) == 1


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_listing_that_breaks_off_is_asked_for_again_and_given_up_in_time(
    tap: Tap, impatient: None, uri: str, spoilt: str
) -> None:
    folder = uri.rpartition("/")[0] + "/"
    tap.spoil_listings[folder] = iter([spoilt])
    assert [item.uri for item in storage.list_objects(folder)] == [uri]
    assert len(tap.listings(folder)) == 2
    tap.clear()
    tap.spoil_listings[folder] = repeat(spoilt)
    begun_s = time.monotonic()
    with pytest.raises(StorageError) as caught:
        list(storage.list_objects(folder))
    assert (caught.value.kind, len(tap.listings(folder))) == (StorageErrorKind.storage, client.ATTEMPTS)
    assert time.monotonic() - begun_s < client.ATTEMPTS * (client.READ_S + pace.GRACE_S) + 6


def test_an_error_that_drips_is_given_up_in_time(tap: Tap, impatient: None, uri: str) -> None:
    tap.spoil = repeat("drip")
    begun_s = time.monotonic()
    with pytest.raises(StorageError) as caught:
        storage.get_bytes(f"{uri}/nothing")
    assert caught.value.kind is StorageErrorKind.storage
    assert time.monotonic() - begun_s < client.ATTEMPTS * (client.READ_S + pace.GRACE_S) + 6


@pytest.mark.parametrize(
    ("spoilt", "kind", "requests"),
    [("403", StorageErrorKind.access_denied, 1), ("503", StorageErrorKind.storage, 3)],
)
def test_an_answer_that_never_begins_ends_in_its_kind_after_as_many_tries(
    tap: Tap, impatient: None, uri: str, spoilt: str, kind: StorageErrorKind, requests: int
) -> None:
    tap.spoil = repeat(spoilt)
    with pytest.raises(StorageError) as caught:
        storage.get_bytes(uri)
    assert (caught.value.kind, len(tap.gets())) == (kind, requests)


def test_an_object_replaced_between_two_attempts_ends_as_changed(tap: Tap, impatient: None, uri: str) -> None:
    found = storage.head(uri)
    assert found
    tap.spoil = chain(["cut"], (storage.swap(uri, found.etag, DATA[::-1]) and "" for _ in range(1)))
    with pytest.raises(StorageError) as caught:
        storage.get_bytes(uri, etag=found.etag)
    assert (caught.value.kind, [one.status for one in tap.gets()]) == (StorageErrorKind.changed, [200, 412])


def test_an_answer_that_is_slow_by_nature_is_left_to_botocore() -> None:
    sent: list[object] = []
    send = sender(SimpleNamespace(send=sent.append))
    assert send(object(), event_name="before-send.s3.CompleteMultipartUpload") is None
    assert not sent

import threading
from pathlib import Path

import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind, UserError
from reelworks.storage import objects


def test_split_uri_gives_bucket_and_key_and_refuses_other_addresses() -> None:
    assert storage.split_uri("s3://raw/a/b.mp4") == ("raw", "a/b.mp4")
    assert storage.split_uri("s3://raw") == ("raw", "")
    with pytest.raises(UserError, match="no s3:// address"):
        storage.split_uri("/data/raw")


def test_second_create_returns_the_stored_bytes_and_not_the_losers(prefix: str) -> None:
    first = storage.create_once(f"{prefix}/x", b"one")
    second = storage.create_once(f"{prefix}/x", b"two")
    assert (first.created, first.data) == (True, b"one")
    assert (second.created, second.data, second.digest, second.etag) == (False, b"one", first.digest, first.etag)


def test_exactly_one_of_many_writers_creates(prefix: str) -> None:
    results: list[storage.Stored] = []
    writers = [
        threading.Thread(target=lambda i=i: results.append(storage.create_once(f"{prefix}/race", b"%d" % i)))
        for i in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sum(result.created for result in results) == 1
    assert len({result.data for result in results}) == 1


def test_swap_moves_on_only_from_the_given_etag(prefix: str) -> None:
    etag = storage.create_once(f"{prefix}/r", b"nonce 1").etag
    moved = storage.swap(f"{prefix}/r", etag, b"nonce 2")
    assert moved and moved != etag
    assert storage.swap(f"{prefix}/r", etag, b"nonce 3") is None
    assert storage.get_bytes(f"{prefix}/r") == b"nonce 2"
    assert storage.swap(f"{prefix}/gone", etag, b"nonce 4") is None


def test_swap_knows_its_own_write_again_after_a_lost_answer(prefix: str) -> None:
    etag = storage.create_once(f"{prefix}/r", b"nonce 1").etag
    applied = storage.swap(f"{prefix}/r", etag, b"nonce 2")
    assert storage.swap(f"{prefix}/r", etag, b"nonce 2") == applied


def test_ranged_get_reads_the_range_and_refuses_a_changed_object(prefix: str) -> None:
    stored = storage.create_once(f"{prefix}/x", bytes(range(100)))
    assert storage.get_bytes(f"{prefix}/x", start=10, length=5, etag=stored.etag) == bytes(range(10, 15))
    assert storage.get_bytes(f"{prefix}/x", start=95) == bytes(range(95, 100))
    assert storage.get_bytes(f"{prefix}/x", start=100, length=5) == b""
    with pytest.raises(StorageError) as caught:
        storage.get_bytes(f"{prefix}/x", start=0, length=1, etag="0" * 32)
    assert caught.value.kind is StorageErrorKind.changed


def test_listing_pages_in_key_order_and_starts_after_a_key(prefix: str) -> None:
    for i in range(5):
        storage.create_once(f"{prefix}/{i}", b"x" * i)
    found = list(storage.list_objects(f"{prefix}/"))
    assert [item.size for item in found] == [0, 1, 2, 3, 4]
    assert [item.uri for item in storage.list_objects(f"{prefix}/", start_after=found[2].key)] == [
        item.uri for item in found[3:]
    ]
    assert storage.head(found[3].uri) == found[3]


def test_missing_objects_are_told_apart_from_failures(prefix: str) -> None:
    assert storage.head(f"{prefix}/none") is None
    with pytest.raises(StorageError) as caught:
        storage.get_bytes(f"{prefix}/none")
    assert caught.value.kind is StorageErrorKind.not_found


def test_keys_are_deleted_in_as_many_requests_as_they_need_and_ages_follow_the_stores_clock(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "DELETED_AT_ONCE", 2)
    for name in "abcd":
        storage.create_once(f"{prefix}/{name}", b"x")
    listed = list(storage.list_objects(f"{prefix}/"))
    assert all(-2 < storage.clock_s(prefix) - one.modified_s < 60 for one in listed)
    found = storage.head(listed[0].uri)
    assert found and found.modified_s == listed[0].modified_s
    storage.delete_keys(listed[0].bucket, [one.key for one in listed[:3]] + ["not/there"])
    assert [one.key[-1] for one in storage.list_objects(f"{prefix}/")] == ["d"]


def test_delete_prefix_removes_what_is_under_it_and_nothing_else(prefix: str) -> None:
    for name in ("a/1", "a/2", "b/1"):
        storage.create_once(f"{prefix}/{name}", b"x")
    assert storage.delete_prefix(f"{prefix}/a/") == 2
    assert [item.key.rpartition("/")[0][-1] for item in storage.list_objects(f"{prefix}/")] == ["b"]


def test_presigned_url_reads_without_credentials(prefix: str) -> None:
    import urllib.request

    storage.create_once(f"{prefix}/x", b"hello")
    with urllib.request.urlopen(storage.presign(f"{prefix}/x", 60)) as answer:
        assert answer.read() == b"hello"


def test_a_file_in_parts_is_stored_once_and_whole(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reelworks.storage.objects.PART_BYTES", 5 * 2**20)
    path = tmp_path / "big"
    path.write_bytes(b"a" * (11 * 2**20))
    digest = storage.create_file_once(f"{prefix}/big", path)
    path.write_bytes(b"b" * (11 * 2**20))
    assert storage.create_file_once(f"{prefix}/big", path) == digest
    assert storage.get_bytes(f"{prefix}/big", start=10 * 2**20) == b"a" * 2**20

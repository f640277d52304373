import threading
import time

import pytest

from reelworks import storage
from serving.record import Status, claimed, completed
from serving.store import IdempotencyConflict, Store
from tests.serving.jobs import job


@pytest.fixture
def store(prefix: str) -> Store:
    return Store(prefix)


def test_a_created_job_is_pending_and_any_other_process_finds_it(store: Store):
    record = store.create(job(), None)
    other = Store(store.root)
    assert other.load("key", record.id).record == record
    assert [(entry.job_id, entry.cost) for entry in other.pending()] == [(record.id, record.cost)]


def test_another_keys_id_is_not_found(store: Store):
    record = store.create(job("alice"), None)
    assert store.load("bob", record.id) is None
    assert store.delete("bob", record.id) is False
    assert store.page("bob", after=None, limit=10, descending=True) == ([], False)
    # A key whose id begins with another's doesn't see its jobs.
    assert store.page("alic", after=None, limit=10, descending=True) == ([], False)


def test_the_same_idempotency_key_makes_one_job(store: Store):
    first = store.create(job(), "order-7")
    again = store.create(job(), "order-7")
    assert again == first
    assert len(list(store.pending())) == 1
    assert store.create(job("other"), "order-7").id != first.id


def test_the_same_idempotency_key_with_other_fields_is_a_conflict(store: Store):
    store.create(job(), "order-7")
    with pytest.raises(IdempotencyConflict):
        store.create(job(digest="e" * 64), "order-7")


def test_a_create_that_died_before_its_record_is_finished_under_the_same_id(store: Store):
    lost = job()
    store._reserve(lost, "order-7")  # the process died here
    assert store.create(job(), "order-7").id == lost.id
    assert [entry.job_id for entry in store.pending()] == [lost.id]


def test_creates_that_race_with_one_idempotency_key_make_one_job(store: Store):
    made = []
    threads = [threading.Thread(target=lambda: made.append(Store(store.root).create(job(), "k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({record.nonce for record in made}) == 1 and len(made) == 8
    assert len(list(store.pending())) == 1


def test_a_page_is_newest_first_and_continues_after_its_last_id(store: Store):
    records = [store.create(job(created_ms=1000 * second), None) for second in range(1, 8)]
    newest = records[::-1]
    page, more = store.page("key", after=None, limit=3, descending=True)
    assert (page, more) == (newest[:3], True)
    page, more = store.page("key", after=page[-1].id, limit=3, descending=True)
    assert (page, more) == (newest[3:6], True)
    page, more = store.page("key", after=page[-1].id, limit=3, descending=True)
    assert (page, more) == (newest[6:], False)


def test_ascending_pages_are_the_descending_ones_reversed(store: Store):
    records = [store.create(job(created_ms=1000 * second), None) for second in range(1, 6)]
    page, more = store.page("key", after=None, limit=3, descending=False)
    assert (page, more) == (records[:3], True)
    page, more = store.page("key", after=page[-1].id, limit=3, descending=False)
    assert (page, more) == (records[3:], False)


def test_a_page_that_ends_with_the_last_job_says_so(store: Store):
    store.create(job(), None)
    assert store.page("key", after=None, limit=1, descending=True)[1] is False


def test_deleted_jobs_leave_the_pages_and_are_not_deleted_twice(store: Store):
    records = [store.create(job(created_ms=1000 * second), None) for second in range(1, 4)]
    assert store.delete("key", records[1].id) is True
    assert store.delete("key", records[1].id) is False
    assert store.page("key", after=None, limit=2, descending=True) == ([records[2], records[0]], False)
    assert {entry.job_id for entry in store.pending()} == {records[0].id, records[2].id}
    stored = storage.get_bytes(f"{store.root}/records/key/{records[1].id}")
    assert b"red circle" not in stored


def test_a_page_read_again_shows_what_another_process_changed(store: Store):
    record = store.create(job(), None)
    store.page("key", after=None, limit=5, descending=True)
    other = Store(store.root)
    other.swap(other.load("key", record.id), claimed(record, "w", 5.0))
    assert store.page("key", after=None, limit=5, descending=True)[0][0].status is Status.in_progress
    assert store.load("key", record.id).record.owner == "w"


def test_of_two_changes_from_one_version_only_the_first_gets_through(store: Store):
    record = store.create(job(), None)
    found = store.load("key", record.id)
    assert store.swap(found, claimed(record, "a", 5.0)) is not None
    assert store.swap(found, claimed(record, "b", 5.0)) is None
    assert store.load("key", record.id).record.owner == "a"


def test_a_retry_without_a_key_finds_the_job_that_its_first_try_made(store: Store):
    now_s = int(time.time())
    store.create(job(digest="a" * 64, created_ms=(now_s - 900) * 1000), None)
    assert store.recent_twin("key", "a" * 64, now_s - 120) is None
    twin = store.create(job(digest="a" * 64), None)
    store.create(job(digest="b" * 64), None)
    assert store.recent_twin("key", "a" * 64, now_s - 120) == twin
    assert store.recent_twin("other", "a" * 64, now_s - 120) is None


def test_an_attempts_output_is_written_once_and_out_of_another_attempts_way(store: Store):
    record = claimed(store.create(job(), None), "w", 5.0)
    assert store.write_output(record, "video.mp4", b"one").data == b"one"
    assert store.write_output(record, "video.mp4", b"two").data == b"one"
    assert store.write_output(claimed(record, "v", 5.0), "video.mp4", b"two").data == b"two"


def test_removing_a_deleted_job_leaves_no_object_of_it(store: Store):
    record = store.create(job(), "order-7")
    store.write_output(claimed(record, "w", 5.0), "video.mp4", b"one")
    store.delete("key", record.id)
    assert list(store.trashed()) == [("key", record.id)]
    store.remove(store.load("key", record.id).record)
    assert list(storage.list_objects(store.root)) == []


def test_finished_jobs_do_not_lengthen_the_queue(store: Store):
    for _ in range(5):
        record = store.create(job(), None)
        store.swap(store.load("key", record.id), completed(record, None, None, 5))
        store.finish(record)
    assert list(store.pending()) == []

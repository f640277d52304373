import multiprocessing
import os
import signal
import threading
import time

import pytest

from reelworks import storage
from serving.claims import Claims, Ended
from serving.queue import fair_order
from serving.record import JobError, Output, Status, completed, failed
from serving.store import Store
from tests.serving.jobs import job

OUTPUT = Output(uri="s3://reelworks/o", digest="0" * 64, size_bytes=3)


class Clock:
    """A worker's monotonic clock that only the test moves."""

    def __init__(self, now: float = 0.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def worker(store: Store, name: str, clock: Clock | None = None, lease_s: float = 10.0) -> Claims:
    return Claims(Store(store.root), name, lease_s, max_losses=3, clock=clock or Clock())


def take(claims: Claims, limit: int = 100):
    return claims.take(fair_order(claims.store.pending()), limit, lambda record: True)


def finish(claims: Claims, lease) -> bool:
    return claims.publish(lease, lambda record: completed(record, OUTPUT, None, 5))


@pytest.fixture
def store(prefix: str) -> Store:
    return Store(prefix)


def test_eight_claimers_of_twenty_jobs_never_share_one(store: Store):
    jobs = {store.create(job(f"key{n % 3}"), None).id for n in range(20)}
    workers = [worker(store, f"w{n}") for n in range(8)]
    start = threading.Barrier(8)

    def claim(claims: Claims) -> None:
        start.wait()
        for _ in range(4):
            take(claims, limit=3)

    threads = [threading.Thread(target=claim, args=(claims,)) for claims in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [lease.record.id for claims in workers for lease in claims.held()]
    assert len(held) == len(set(held)) and set(held) == jobs
    for claims in workers:
        for lease in claims.held():
            record = store.load(lease.record.key_id, lease.record.id).record
            assert (record.owner, record.attempt) == (claims.owner, 1)


def test_the_oldest_job_is_claimed_first_and_no_more_than_asked(store: Store):
    records = [store.create(job(created_ms=second * 1000), None) for second in range(1, 5)]
    claims = worker(store, "w")
    assert [lease.record.id for lease in take(claims, limit=2)] == [records[0].id, records[1].id]


def test_a_job_that_does_not_fit_stays_for_another_worker(store: Store):
    store.create(job(), None)
    assert worker(store, "w").take(store.pending(), 5, lambda record: False) == []
    assert len(take(worker(store, "v"))) == 1


def test_a_live_owners_job_is_never_taken_over(store: Store):
    store.create(job(), None)
    owner, clock = worker(store, "owner"), Clock()
    (lease,) = take(owner)
    observer = worker(store, "observer", clock)
    for _ in range(10):  # each renewal comes before the observer has seen one ETag for lease_s
        assert take(observer) == []
        clock.now += 9
        assert owner.renew(lease)


def test_a_silent_owners_job_is_taken_over_after_lease_s_on_the_observers_own_clock(store: Store):
    store.create(job(), None)
    owner, clock = worker(store, "owner", Clock(5000.0)), Clock(3600.0)  # the machines' clocks disagree
    (lost,) = take(owner)
    observer = worker(store, "observer", clock)
    assert take(observer) == []
    clock.now += 9.9
    assert take(observer) == []
    clock.now += 0.2
    (lease,) = take(observer)
    assert (lease.record.attempt, lease.record.owner) == (2, "observer")
    assert owner.renew(lost) is False and lost.ended is Ended.lost
    assert finish(owner, lost) is False
    assert finish(observer, lease) is True
    assert store.load("key", lease.record.id).record.attempt == 2


def test_an_owner_who_slept_renews_before_it_publishes(store: Store):
    store.create(job(), None)
    clock = Clock()
    owner = worker(store, "owner", clock)
    (lease,) = take(owner)
    nonce = lease.record.nonce
    clock.now += 6  # more than half of lease_s: the lease may be another's by now
    assert finish(owner, lease) is True
    assert lease.began == 6 and lease.record.nonce != nonce


def test_a_stale_owner_makes_nothing_visible(store: Store):
    record = store.create(job(), None)
    owner, observer, clock = worker(store, "owner"), worker(store, "observer"), Clock()
    (stale,) = take(owner)
    observer.clock = clock
    take(observer)
    clock.now += 11
    (lease,) = take(observer)
    owner.store.write_output(stale.record, "video.mp4", b"stale")
    assert finish(owner, stale) is False
    observer.store.write_output(lease.record, "video.mp4", b"fresh")
    output = observer.store.output_uri(lease.record, "video.mp4")
    assert observer.publish(lease, lambda r: completed(r, OUTPUT.model_copy(update={"uri": output}), None, 5))
    assert storage.get_bytes(store.load("key", record.id).record.output.uri) == b"fresh"


def test_a_finished_job_leaves_the_queue_and_its_worker(store: Store):
    record = store.create(job(), None)
    claims = worker(store, "w")
    (lease,) = take(claims)
    assert finish(claims, lease)
    assert (list(store.pending()), claims.held()) == ([], [])
    found = store.load("key", record.id).record
    assert (found.status, found.progress, found.owner, found.output) == (Status.completed, 100, None, OUTPUT)


def test_progress_and_the_revised_prompt_reach_the_record_with_a_renewal(store: Store):
    record = store.create(job(), None)
    claims = worker(store, "w")
    (lease,) = take(claims)
    lease.progress, lease.revised_prompt = 40, "a red circle on a smooth background"
    assert claims.renew(lease)
    found = Store(store.root).load("key", record.id).record
    assert (found.progress, found.revised_prompt) == (40, "a red circle on a smooth background")


def test_a_deleted_job_ends_at_its_workers_next_renewal_and_stays_deleted(store: Store):
    record = store.create(job(), None)
    claims = worker(store, "w")
    (lease,) = take(claims)
    store.delete("key", record.id)
    assert claims.renew(lease) is False and lease.ended is Ended.deleted
    assert finish(claims, lease) is False
    assert store.load("key", record.id).record.status is Status.deleted


def test_a_job_deleted_just_before_its_video_is_published_stays_deleted(store: Store):
    record = store.create(job(), None)
    claims = worker(store, "w")
    (lease,) = take(claims)
    store.delete("key", record.id)
    assert finish(claims, lease) is False and lease.ended is Ended.deleted
    assert store.load("key", record.id).record.output is None


def test_a_released_job_is_free_at_once(store: Store):
    store.create(job(), None)
    leaving = worker(store, "leaving")
    (lease,) = take(leaving)
    leaving.release(lease)
    (again,) = take(worker(store, "w"))
    assert again.record.attempt == 2


def test_a_job_whose_workers_all_die_fails_with_a_reason(store: Store):
    record = store.create(job(), None)
    for number in range(3):
        claims = worker(store, f"w{number}")
        claims.release(take(claims)[0], is_loss=True)
    assert take(worker(store, "last")) == []
    found = store.load("key", record.id).record
    assert (found.status, found.error.code, list(store.pending())) == (Status.failed, "worker_lost", [])


def test_a_job_survives_any_number_of_workers_that_are_stopped_in_order(store: Store):
    store.create(job(), None)
    for number in range(5):
        claims = worker(store, f"w{number}")
        claims.release(take(claims)[0])
    assert len(take(worker(store, "last"))) == 1


def test_the_entry_of_a_job_that_ended_without_leaving_the_queue_is_dropped(store: Store):
    record = store.create(job(), None)
    store.swap(store.load("key", record.id), failed(record, JobError(code="c", message="m"), 1))
    assert take(worker(store, "w")) == []
    assert list(store.pending()) == []


def test_an_entry_whose_record_is_not_written_yet_is_left_alone(store: Store):
    storage.create_once(f"{store.root}/queue/key/{job().id}~5", b"{}")
    assert take(worker(store, "w")) == []
    assert len(list(store.pending())) == 1


def _own_one(root: str, ready, publish) -> None:
    claims = Claims(Store(root), "stopped", 1.0, max_losses=3)
    (lease,) = claims.take(claims.store.pending(), 1, lambda record: True)
    claims.store.write_output(lease.record, "video.mp4", b"stopped")
    ready.send(lease.record.id)
    ready.recv()  # stopped by SIGSTOP while it waits here
    publish.send((finish(claims, lease), lease.ended))


def test_an_owner_stopped_for_three_leases_and_continued_harms_nothing(store: Store):
    record = store.create(job(), None)
    context = multiprocessing.get_context("spawn")
    ready, theirs = context.Pipe()
    result, publish = context.Pipe()
    process = context.Process(target=_own_one, args=(store.root, theirs, publish))
    process.start()
    assert ready.poll(60) and ready.recv() == record.id
    os.kill(process.pid, signal.SIGSTOP)
    observer = Claims(Store(store.root), "observer", 1.0, max_losses=3)
    taken, deadline = [], time.monotonic() + 30
    while not taken and time.monotonic() < deadline:
        taken = take(observer)
        time.sleep(0.2)
    until = time.monotonic() + 2
    while time.monotonic() < until:  # three leases have passed when the owner wakes
        assert observer.renew(taken[0])
        time.sleep(0.3)
    os.kill(process.pid, signal.SIGCONT)
    ready.send("go on")
    assert result.poll(60) and result.recv() == (False, Ended.lost)
    process.join(30)
    assert finish(observer, taken[0]) is True
    assert store.load("key", record.id).record.attempt == 2

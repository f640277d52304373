from reelworks import storage
from serving.claims import Claims
from serving.record import Status
from serving.store import Store
from serving.sweep import ORPHAN_AGE_S, Sweeper
from tests.serving.jobs import job


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_deleted_jobs_objects_go_once_no_lease_on_it_can_be_live(prefix: str):
    store, clock = Store(prefix), Clock()
    record = store.create(job(), "order-7")
    claims = Claims(store, "w", 10.0, max_losses=3)
    (lease,) = claims.take(store.pending(), 1, lambda one: True)
    store.write_output(lease.record, "video.mp4", b"pixels")
    store.delete("key", record.id)
    sweeper = Sweeper(Store(prefix), 60.0, clock)
    assert sweeper.sweep() == 0
    clock.now += 5
    assert sweeper.sweep() == 0
    clock.now += 6
    assert sweeper.sweep() == 1
    assert list(storage.list_objects(prefix)) == []


def test_living_jobs_are_untouched(prefix: str):
    store, clock = Store(prefix), Clock()
    record = store.create(job(), None)
    sweeper = Sweeper(Store(prefix), 60.0, clock)
    for _ in range(3):
        clock.now += ORPHAN_AGE_S
        assert sweeper.sweep() == 0
    assert store.load("key", record.id).record.status is Status.queued
    assert len(list(store.pending())) == 1


def test_an_entry_whose_record_never_came_is_dropped_after_long_and_not_before(prefix: str):
    store, clock = Store(prefix), Clock()
    storage.create_once(f"{prefix}/queue/key/{job().id}~5", b"{}")
    sweeper = Sweeper(store, 60.0, clock)
    sweeper.sweep()
    clock.now += ORPHAN_AGE_S - 1
    sweeper.sweep()
    assert len(list(store.pending())) == 1
    clock.now += 2
    sweeper.sweep()
    assert list(store.pending()) == []

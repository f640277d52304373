import time
from collections.abc import Callable, Iterator

import pytest

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind
from serving import sampling
from serving.claims import Claims
from serving.record import JobRecord, ModelPin, Status
from serving.sampler import Crew
from serving.sampling import SamplingLoop
from serving.store import Store
from tests.serving.fake_engine import FakeEngine
from tests.serving.jobs import PIN, job


class Replica:
    """A sampler replica without its threads: the test turns it by hand."""

    def __init__(self, root: str, name: str = "w", expand=None, load=None, max_jobs: int = 8):
        self.engine = FakeEngine()
        self.loaded: list[ModelPin] = []
        self.store = Store(root)
        self.claims = Claims(Store(root), name, 10.0, max_losses=3)
        self.crew = Crew(self.claims, expand, lambda frames, fps: frames.tobytes(), max_jobs, poll_s=0.05)
        self.loop = SamplingLoop(self.crew, load or self._load, stall_s=60.0)

    def _load(self, pin: ModelPin) -> FakeEngine:
        self.loaded.append(pin)
        return self.engine

    def create(self, **fields: object) -> JobRecord:
        return self.store.create(job(**fields), None)

    def record(self, of: JobRecord) -> JobRecord:
        return self.store.load(of.key_id, of.id).record

    def claim(self) -> None:
        """Claims what is there and waits until it is prepared."""
        claimed, deadline = self.crew.claim(), time.monotonic() + 20
        while self.crew.ready.qsize() < claimed:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it didn't happen"
            self.loop.turn(0.02)

    def work(self, *jobs: JobRecord) -> list[JobRecord]:
        """Claims and steps until these jobs have ended."""

        def ended() -> bool:
            self.crew.claim()
            return all(self.record(one).done for one in jobs)

        self.turn_until(ended)
        return [self.record(one) for one in jobs]


@pytest.fixture
def replica(prefix: str) -> Iterator[Replica]:
    made = Replica(prefix)
    yield made
    made.crew.stop(0.0)


def test_a_job_becomes_a_video_of_what_was_asked(replica: Replica):
    (record,) = replica.work(replica.create())
    assert (record.status, record.progress, record.attempt) == (Status.completed, 100, 1)
    data = storage.get_bytes(record.output.uri)
    assert data == bytes([7]) * (12 * 32 * 48 * 3)  # seed 7, 1.5 s at 8 fps, 48x32
    assert (record.output.size_bytes, replica.loaded) == (len(data), [PIN])
    assert list(replica.store.pending()) == []


def test_jobs_of_any_shape_share_their_steps_and_join_while_others_are_on_their_way(replica: Replica):
    first = replica.create(prompt="first")
    replica.claim()
    replica.turn_until(lambda: len(replica.engine.together) == 1)
    wide = job(prompt="second")
    second = replica.store.create(wide.model_copy(update={"asked": wide.asked.model_copy(update={"width": 64})}), None)
    replica.claim()
    replica.work(first, second)
    assert {"first"} in replica.engine.together and {"first", "second"} in replica.engine.together


def test_a_replica_holds_no_more_jobs_than_it_may(prefix: str):
    replica = Replica(prefix, max_jobs=2)
    jobs = [replica.create() for _ in range(5)]
    assert (replica.crew.claim(), replica.crew.claim()) == (2, 0)
    assert all(record.status is Status.completed for record in replica.work(*jobs))
    assert max(len(prompts) for prompts in replica.engine.together) <= 2


def test_the_model_sees_the_revised_prompt_and_the_record_tells_it(prefix: str):
    replica = Replica(prefix, expand=lambda one: f"{one.asked.prompt}, seed {one.asked.seed}, on a smooth background")
    (record,) = replica.work(replica.create(prompt="a red circle"))
    assert record.revised_prompt == "a red circle, seed 7, on a smooth background"
    assert replica.engine.together[0] == {record.revised_prompt}
    assert record.asked.prompt == "a red circle"


def test_an_expander_that_fails_costs_nothing_but_the_expansion(prefix: str):
    def broken(record: JobRecord) -> str:
        raise TimeoutError

    replica = Replica(prefix, expand=broken)
    (record,) = replica.work(replica.create(prompt="a red circle"))
    assert (record.status, record.revised_prompt) == (Status.completed, None)
    assert replica.engine.together[0] == {"a red circle"}


def test_progress_is_told_while_a_job_is_on_its_way(replica: Replica):
    made = replica.create()
    replica.claim()
    replica.turn_until(lambda: len(replica.engine.together) == 2)
    replica.crew.beat()
    record = replica.record(made)
    assert (record.status, record.progress) == (Status.in_progress, 50)


def test_a_deleted_job_leaves_its_place_at_the_next_beat(replica: Replica):
    made, other = replica.create(prompt="deleted"), replica.create(prompt="other")
    replica.claim()
    replica.turn_until(lambda: {"deleted", "other"} in replica.engine.together)
    replica.store.delete(made.key_id, made.id)
    replica.crew.beat()
    replica.loop.turn(0.0)
    assert replica.engine.together[-1] == {"other"}
    assert replica.work(other)[0].status is Status.completed


def test_a_job_that_breaks_a_step_fails_alone_and_the_others_are_made(replica: Replica):
    good = [replica.create(prompt=f"good {n}") for n in range(3)]
    bad = replica.create(prompt="POISON")
    *ended, failed = replica.work(*good, bad)
    assert [record.status for record in ended] == [Status.completed] * 3
    assert (failed.status, failed.error.code) == (Status.failed, "generation_failed")
    assert "unhappy" not in failed.error.message
    replica.loop.check_health()


def test_a_model_that_fails_every_job_asks_for_a_new_replica_instead_of_failing_them_all(replica: Replica):
    jobs = [replica.create(prompt=f"POISON {n}") for n in range(3)]
    replica.claim()

    def unhealthy() -> bool:
        try:
            replica.loop.check_health()
        except RuntimeError:
            return True
        return False

    replica.turn_until(unhealthy)
    replica.crew.stop(0.0)
    statuses = [replica.record(one).status for one in jobs]
    assert statuses.count(Status.failed) == 1 and Status.completed not in statuses


def test_a_version_that_was_deleted_ends_its_jobs_as_model_gone(prefix: str):
    def gone(pin: ModelPin) -> FakeEngine:
        raise StorageError(StorageErrorKind.not_found, pin.uri)

    replica = Replica(prefix, load=gone)
    (record,) = replica.work(replica.create())
    assert (record.status, record.error.code) == (Status.failed, "model_gone")


def test_a_model_that_cannot_be_read_now_keeps_its_jobs_waiting(prefix: str, monkeypatch):
    monkeypatch.setattr(sampling, "LOAD_RETRY_S", 0.0)
    failures = [StorageError(StorageErrorKind.storage, "s3://x") for _ in range(6)]

    def away(pin: ModelPin) -> FakeEngine:
        if failures:
            raise failures.pop()
        return replica.engine

    replica = Replica(prefix, load=away)
    (record,) = replica.work(replica.create())
    assert (record.status, record.attempt, failures) == (Status.completed, 7, [])


def test_a_job_pinned_to_another_version_is_made_by_that_version(replica: Replica):
    newer = PIN.model_copy(update={"version": 4, "digest": "e" * 64})
    jobs = [replica.create(created_ms=1000), replica.create(created_ms=2000, model=newer)]
    records = replica.work(*jobs)
    assert [record.status for record in records] == [Status.completed] * 2
    assert replica.loaded == [PIN, newer]
    assert all(len(prompts) == 1 for prompts in replica.engine.together)


def test_a_replica_that_stops_gives_back_what_it_has_not_finished(prefix: str):
    leaving, other = Replica(prefix, "leaving"), Replica(prefix, "other")
    made = leaving.create()
    leaving.claim()
    leaving.turn_until(lambda: len(leaving.engine.together) == 1)
    leaving.crew.stop(0.0)
    assert leaving.record(made).status is Status.queued
    (record,) = other.work(made)
    assert (record.status, record.attempt) == (Status.completed, 2)


def test_a_replica_that_stops_finishes_what_it_can_within_its_drain(prefix: str):
    replica = Replica(prefix)
    made = replica.create()
    replica.loop.start(lambda: None)
    replica.crew.start()
    deadline = time.monotonic() + 20
    while replica.record(made).status is Status.queued and time.monotonic() < deadline:
        time.sleep(0.02)
    replica.crew.stop(20.0)
    replica.loop.stop()
    assert replica.record(made).status is Status.completed


def test_a_video_that_cannot_be_encoded_fails_with_its_own_reason(prefix: str):
    replica = Replica(prefix)
    replica.crew._to_mp4 = lambda frames, fps: 1 / 0
    (record,) = replica.work(replica.create())
    assert (record.status, record.error.code) == (Status.failed, "encoding_failed")

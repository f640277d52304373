from serving.record import (
    JobError,
    Output,
    Status,
    claimed,
    completed,
    failed,
    from_bytes,
    released,
    renewed,
    tombstone,
)
from tests.serving.jobs import job

OUTPUT = Output(uri="s3://b/o", digest="0" * 64, size_bytes=3)


def test_a_record_survives_its_bytes():
    record = completed(claimed(job(), "w", 9.0), OUTPUT, "long", 5)
    assert from_bytes(record.to_bytes()) == record


def test_a_key_written_by_a_newer_version_is_ignored():
    assert from_bytes(job().to_bytes()[:-1] + b',"webhook":1}').status is Status.queued


def test_every_transition_carries_a_fresh_nonce_so_that_equal_bytes_never_hide_a_write():
    record = job()
    nonces = {record.nonce}
    for change in (
        lambda r: claimed(r, "w", 9.0),
        lambda r: renewed(r, 0, None),
        lambda r: renewed(r, 0, None),
        lambda r: released(r, False),
        lambda r: failed(r, JobError(code="c", message="m"), 1),
        tombstone,
    ):
        record = change(record)
        nonces.add(record.nonce)
    assert len(nonces) == 7


def test_a_claim_is_a_new_attempt_and_starts_progress_again():
    record = claimed(renewed(claimed(job(), "a", 9.0), 50, None), "b", 4.0)
    assert (record.attempt, record.owner, record.lease_s, record.progress) == (2, "b", 4.0, 0)
    assert record.status is Status.in_progress


def test_progress_never_goes_back_and_reaches_100_only_with_the_video():
    record = renewed(renewed(claimed(job(), "a", 9.0), 60, None), 40, None)
    assert record.progress == 60
    assert renewed(record, 100, None).progress == 99
    assert completed(record, OUTPUT, None, 5).progress == 100


def test_a_tombstone_keeps_nothing_that_the_user_wrote():
    record = tombstone(completed(claimed(job(prompt="secret words"), "a", 9.0), OUTPUT, "secret words, long", 5))
    assert record.status is Status.deleted and record.done
    assert b"secret" not in record.to_bytes()
    assert record.output is None


def test_a_released_job_is_waiting_again_without_an_owner():
    record = released(renewed(claimed(job(), "a", 9.0), 60, None), False)
    assert (record.status, record.owner, record.progress, record.attempt) == (Status.queued, None, 0, 1)


def test_only_workers_that_vanished_or_broke_count_as_losses():
    record = claimed(job(), "a", 9.0)
    assert record.losses == 0
    assert claimed(record, "b", 9.0).losses == 1
    assert claimed(released(record, False), "b", 9.0).losses == 0
    assert claimed(released(record, True), "b", 9.0).losses == 1

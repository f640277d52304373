from serving.ids import video_id
from serving.queue import QueueEntry, fair_order, parse_entry


def entry(key_id: str, second: int) -> QueueEntry:
    return QueueEntry(key_id, video_id(second * 1000, 5), 10)


def test_an_entry_survives_its_name():
    assert parse_entry(entry("abc", 7).name) == entry("abc", 7)


def test_foreign_objects_below_the_queue_are_not_taken_for_work():
    good = entry("abc", 7).name
    assert parse_entry("abc/readme.txt") is None
    assert parse_entry(good.partition("~")[0]) is None
    assert parse_entry(good + "x") is None
    assert parse_entry(good.partition("/")[2]) is None


def test_within_a_key_the_oldest_job_comes_first():
    assert fair_order([entry("a", 3), entry("a", 1), entry("a", 2)]) == [entry("a", 1), entry("a", 2), entry("a", 3)]


def test_one_keys_backlog_does_not_block_anothers_first_job():
    backlog = [entry("a", second) for second in range(100)]
    order = fair_order([*backlog, entry("b", 1000), entry("b", 1001)])
    assert order.index(entry("b", 1000)) <= 1
    assert order.index(entry("b", 1001)) <= 3
    assert len(order) == 102

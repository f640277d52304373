import gc
import threading
import time
from types import SimpleNamespace

from serving.autoscale import QueueDepthPolicy, replicas_for
from serving.store import Store
from tests.serving.jobs import job

CONTEXT = SimpleNamespace(target_num_replicas=3)


def test_replicas_follow_the_number_of_unfinished_jobs():
    assert [replicas_for(depth, 8) for depth in (0, 1, 8, 9, 80)] == [0, 1, 1, 2, 10]


def test_the_policy_counts_the_durable_queue(prefix: str):
    store = Store(prefix)
    for number in range(5):
        store.create(job(f"key{number}"), None)
    policy = QueueDepthPolicy(prefix, jobs_per_replica=2, refresh_s=0.05)
    deadline = time.monotonic() + 20
    while policy.depth != 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert policy(CONTEXT) == (3, {"depth": 5})


def test_a_number_that_grew_stale_keeps_the_replicas_that_there_are():
    policy = QueueDepthPolicy("s3://reelworks/nowhere", jobs_per_replica=2, refresh_s=1000.0)
    policy.depth, policy.looked = 50, time.monotonic() - 100
    assert policy(CONTEXT)[0] == 3


def test_a_policy_that_serve_dropped_leaves_no_thread(prefix: str):
    before = set(threading.enumerate())
    policy = QueueDepthPolicy(prefix, jobs_per_replica=2, refresh_s=0.05)
    (thread,) = set(threading.enumerate()) - before
    del policy
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()

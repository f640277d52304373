"""How many sampler replicas: by the durable queue, not by requests in flight.

An asynchronous job API answers in milliseconds, so Serve's own count of requests looks idle while the models work.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext


def replicas_for(depth: int, jobs_per_replica: int) -> int:
    """Replicas that a number of unfinished jobs asks for; Serve applies its bounds and delays."""
    return math.ceil(depth / jobs_per_replica)


class QueueDepthPolicy:
    """Serve's class policy; one instance lives in the controller.

    A thread looks at the queue every `refresh_s`; the policy call itself does no I/O. A number older than `stale_s`
    (the bucket is away) keeps the replicas that there are.
    """

    def __init__(self, root: str, jobs_per_replica: int, refresh_s: float = 1.0, stale_s: float = 15.0):
        self.root = root
        self.jobs_per_replica = jobs_per_replica
        self.refresh_s = refresh_s
        self.stale_s = stale_s
        self.depth = 0
        self.looked = -math.inf  # on the monotonic clock
        # The thread holds no strong reference: a policy that Serve drops on a redeployment must be collected.
        threading.Thread(target=_watch, args=(weakref.ref(self),), daemon=True, name="queue-depth").start()

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        if time.monotonic() - self.looked > self.stale_s:
            return ctx.target_num_replicas, {}
        return replicas_for(self.depth, self.jobs_per_replica), {"depth": self.depth}

    def look(self) -> None:
        """Counts the queue once."""
        from serving.store import Store

        self.depth = sum(1 for _ in Store(self.root).pending())
        self.looked = time.monotonic()


def _watch(reference: weakref.ref[QueueDepthPolicy]) -> None:
    while (policy := reference()) is not None:
        wait_s = policy.refresh_s
        try:
            policy.look()
        except Exception as error:  # the number grows stale, and the policy says so
            logging.getLogger(__name__).warning("the queue's depth is unknown: %s", error)
        del policy
        time.sleep(wait_s)

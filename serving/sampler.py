"""The worker of a sampler replica: claims jobs, steps them together, publishes their videos. No Ray, no HTTP.

Four kinds of threads, so that nothing waits for the bucket but who must:
  scout      looks at the queue, claims what there is room for
  prepare    expands a claimed job's prompt
  loop       (sampling.py) admits, steps, evicts: the only one that touches the model
  heartbeat  renews leases, tells progress; publish encodes and stores finished videos
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from reelworks.errors import StorageError
from reelworks.generate.request import GenerationRequest
from serving.claims import Claims, Lease
from serving.queue import fair_order
from serving.record import JobError, JobRecord, ModelPin, Output, completed, failed
from serving.store import Contended

logger = logging.getLogger(__name__)

Expand = Callable[[JobRecord], str | None]
"""The revised prompt of a job, None where there is none; may raise."""
ToMp4 = Callable[[NDArray[np.uint8], float], bytes]
VIDEO = "video.mp4"
BEATS_PER_LEASE = 6  # renewals that may be lost before half of the lease has passed: two


@dataclass(frozen=True)
class Ready:
    """A claimed job whose prompt is what the model will see."""

    lease: Lease
    request: GenerationRequest

    @property
    def pin(self) -> ModelPin:
        """The model that must make it."""
        return self.lease.record.model


class Crew:
    """The threads around the loop; `ready` is what they hand to it."""

    def __init__(self, claims: Claims, expand: Expand | None, to_mp4: ToMp4, max_jobs: int, poll_s: float):
        self.claims = claims
        self.ready: SimpleQueue[Ready] = SimpleQueue()
        self._expand, self._to_mp4 = expand, to_mp4
        self._max_jobs, self._poll_s = max_jobs, poll_s
        self._pin: ModelPin | None = None
        self._draining, self._stopped = threading.Event(), threading.Event()
        self._preparers = ThreadPoolExecutor(max_jobs, thread_name_prefix="prepare")
        self._publishers = ThreadPoolExecutor(2, thread_name_prefix="publish")

    def start(self) -> None:
        """Starts looking for work."""
        for run in (self._scout, self._heartbeat):
            threading.Thread(target=run, daemon=True, name=run.__name__.strip("_")).start()

    def stop(self, drain_s: float) -> None:
        """Claims nothing more, waits for what is in work, gives back what isn't finished by then."""
        self.halt()
        deadline = time.monotonic() + drain_s
        while self.claims.held() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopped.set()
        for lease in self.claims.held():
            self.give_back(lease, is_loss=False)

    def halt(self) -> None:
        """Claims nothing more; what is in work goes on."""
        self._draining.set()

    def claim(self) -> int:
        """Claims what there is room for; how many that were."""
        room = self._max_jobs - len(self.claims.held())
        if room <= 0:
            return 0
        leases = self.claims.take(fair_order(self.claims.store.pending()), room, self._fits)
        for lease in leases:
            self._preparers.submit(self._prepare, lease)
        return len(leases)

    def beat(self) -> None:
        """Renews the leases that have something to tell or are due."""
        due_s = self.claims.lease_s / BEATS_PER_LEASE
        for lease in self.claims.held():
            told = lease.record.progress >= min(lease.progress, 99)
            if told and self.claims.clock() - lease.began < due_s:
                continue
            try:
                self.claims.renew(lease)
            except StorageError as error:
                logger.warning("%s: not renewed: %s", lease.record.id, error)

    def publish(self, job: Ready, frames: NDArray[np.uint8]) -> None:
        """Encodes and stores a finished job's video, in the background."""
        self._publishers.submit(self._publish, job, frames)

    def fail(self, lease: Lease, code: str, message: str) -> None:
        """Ends a job without a video, for a reason that its user reads."""
        error = JobError(code=code, message=message)
        try:
            self.claims.publish(lease, lambda record: failed(record, error, int(time.time())))
        except (StorageError, Contended) as problem:
            logger.warning("%s: its failure wasn't stored: %s", lease.record.id, problem)
            self.claims.drop(lease)

    def give_back(self, lease: Lease, is_loss: bool) -> None:
        """Lets another worker, or this one later, begin a job again."""
        try:
            self.claims.release(lease, is_loss)
        except (StorageError, Contended) as problem:  # its lease runs out, then another takes it
            logger.warning("%s: not given back: %s", lease.record.id, problem)
            self.claims.drop(lease)

    def _scout(self) -> None:
        while not self._draining.is_set():
            try:
                self.claim()
            except Exception:  # the bucket is away, or a record is not ours to read: the next look may do better
                logger.exception("the queue could not be read")
            self._draining.wait(self._poll_s)

    def _heartbeat(self) -> None:
        while not self._stopped.wait(min(1.0, self.claims.lease_s / BEATS_PER_LEASE / 2)):
            try:
                self.beat()
            except Exception:
                logger.exception("leases could not be renewed")

    def _fits(self, record: JobRecord) -> bool:
        """One model at a time: another version is taken up when nothing of this one is in work."""
        if self._pin is None or not self.claims.held():
            self._pin = record.model
        return record.model == self._pin

    def _prepare(self, lease: Lease) -> None:
        record = lease.record
        asked = record.asked
        try:
            if lease.revised_prompt is None and self._expand is not None:
                lease.revised_prompt = self._expanded(record)
                self.claims.renew(lease)  # a later attempt goes on from the same words
        except StorageError as error:
            logger.warning("%s: its revised prompt wasn't stored: %s", record.id, error)
        except Exception:
            logger.exception("%s: could not be prepared", record.id)
            self.give_back(lease, is_loss=True)
            return
        prompt = lease.revised_prompt or asked.prompt
        self.ready.put(Ready(lease, GenerationRequest(**{**asked.model_dump(), "prompt": prompt})))

    def _expanded(self, record: JobRecord) -> str | None:
        """The expander is a help, not a condition: without it the video is made from the prompt as it stands."""
        assert self._expand is not None
        try:
            return self._expand(record)
        except Exception as error:
            logger.warning("%s: its prompt stays as it is, the expander failed: %r", record.id, error)
            return None

    def _publish(self, job: Ready, frames: NDArray[np.uint8]) -> None:
        lease = job.lease
        try:
            data = self._to_mp4(frames, job.request.fps)
        except Exception:
            logger.exception("%s: could not be encoded", lease.record.id)
            self.fail(lease, "encoding_failed", "The video could not be encoded.")
            return
        try:
            stored = self.claims.store.write_output(lease.record, VIDEO, data)
            uri = self.claims.store.output_uri(lease.record, VIDEO)
            output = Output(uri=uri, digest=stored.digest, size_bytes=len(stored.data))
            self.claims.publish(lease, lambda r: completed(r, output, lease.revised_prompt, int(time.time())))
        except Exception:
            logger.exception("%s: could not be stored", lease.record.id)
            self.give_back(lease, is_loss=True)

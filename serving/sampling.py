"""The loop that alone touches the model: admits, steps, evicts. Jobs join and leave between steps."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty

from reelworks.errors import StorageError, StorageErrorKind, UserError
from serving.engine import Engine, Load
from serving.record import ModelPin
from serving.sampler import Crew, Ready

logger = logging.getLogger(__name__)

IDLE_WAIT_S = 0.1
LOAD_RETRY_S = 1.0  # nothing is active when a model is loaded, so waiting holds nobody up
# One job that breaks a step is at fault; two in a row, each alone, say that the model or its device is.
MAX_FAILURES_IN_A_ROW = 2


class SamplingLoop:
    """One thread that steps whatever is active."""

    def __init__(self, crew: Crew, load: Load, stall_s: float):
        self._crew, self._load, self._stall_s = crew, load, stall_s
        self._engine: Engine | None = None
        self._pin: ModelPin | None = None
        self._active: dict[str, Ready] = {}
        self._waiting: deque[Ready] = deque()
        self._suspects: deque[Ready] = deque()  # of a step that failed: each is tried again alone
        self._failures = 0
        self._turned = time.monotonic()
        self._stopped = threading.Event()

    def start(self, preload: Callable[[], ModelPin | None]) -> None:
        """Starts the thread; a model is loaded before the first job asks for it, once `preload` names one."""
        threading.Thread(target=self._run, args=(preload,), daemon=True, name="sampling").start()

    def stop(self) -> None:
        """Ends the thread after its step."""
        self._stopped.set()

    def check_health(self) -> None:
        """RuntimeError where only a new replica helps: a step that hangs, a model that always fails."""
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            raise RuntimeError(f"{self._failures} jobs in a row failed in the model")
        if self._active and time.monotonic() - self._turned > self._stall_s:
            raise RuntimeError(f"no step has ended for {self._stall_s:.0f} s")

    def turn(self, wait_s: float) -> None:
        """One round: take what is ready, let go what has ended, one step."""
        self._turned = time.monotonic()
        self._collect(wait_s if not (self._active or self._waiting or self._suspects) else 0.0)
        for name in [name for name, job in self._active.items() if job.lease.ended is not None]:
            self._drop(name)
        self._admit()
        if self._active:
            self._step()

    def _run(self, preload: Callable[[], ModelPin | None]) -> None:
        preloaded = False
        while not self._stopped.is_set():
            try:
                preloaded = preloaded or self._pin is not None or self._preload(preload())
                self.turn(IDLE_WAIT_S)
            except Exception:
                logger.exception("a turn failed")
                time.sleep(IDLE_WAIT_S)

    def _preload(self, pin: ModelPin | None) -> bool:
        if pin is None:
            return False
        try:
            self._open(pin)
        except Exception as error:  # jobs name their model themselves; theirs may be there
            logger.warning("%s version %s could not be loaded: %r", pin.name, pin.version, error)
        return True

    def _collect(self, wait_s: float) -> None:
        try:
            while True:
                self._waiting.append(self._crew.ready.get(timeout=wait_s) if wait_s else self._crew.ready.get_nowait())
                wait_s = 0.0
        except Empty:
            return

    def _admit(self) -> None:
        queue = self._suspects or self._waiting
        while queue and not (self._suspects and self._active):
            job = queue[0]
            if job.lease.ended is not None:
                queue.popleft()
                continue
            if self._active and (job.pin != self._pin or not self._engine_has_room(job)):
                return
            queue.popleft()
            self._try(job)

    def _engine_has_room(self, job: Ready) -> bool:
        assert self._engine is not None
        return self._engine.has_room(job.request)

    def _try(self, job: Ready) -> None:
        try:
            if job.pin != self._pin:
                self._open(job.pin)
        except Exception as error:
            self._without_model(job, error)
            return
        assert self._engine is not None
        try:
            self._active[self._engine.admit(job.request)] = job
        except UserError as error:
            self._crew.fail(job.lease, "invalid_request", str(error))
        except Exception:
            logger.exception("%s: could not be admitted", job.lease.record.id)
            self._fail(job)

    def _without_model(self, job: Ready, error: Exception) -> None:
        """A version that was deleted ends its jobs; a bucket that is away lets them wait."""
        logger.warning("%s: its model could not be loaded: %r", job.lease.record.id, error)
        gone = isinstance(error, StorageError) and error.kind is StorageErrorKind.not_found
        if gone or isinstance(error, UserError):
            message = f"Version {job.pin.version} of {job.pin.name} can no longer be loaded."
            self._crew.fail(job.lease, "model_gone", message)
        else:
            self._crew.give_back(job.lease, is_loss=False)
            time.sleep(LOAD_RETRY_S)

    def _open(self, pin: ModelPin) -> None:
        start = time.monotonic()
        self._engine, self._pin = None, None  # two models at once may not fit
        self._engine = self._load(pin)
        self._pin = pin
        logger.info("loaded %s version %s in %.1f s", pin.name, pin.version, time.monotonic() - start)

    def _step(self) -> None:
        assert self._engine is not None
        try:
            news = self._engine.step()
        except Exception:
            logger.exception("a step of %d jobs failed", len(self._active))
            self._separate()
            return
        self._failures = 0
        for one in news:
            job = self._active[one.name]
            job.lease.progress = int(100 * one.share)
            if one.frames is not None:
                del self._active[one.name]
                self._crew.publish(job, one.frames)

    def _separate(self) -> None:
        """After a failed step: one job alone is at fault; of several, each is tried again alone."""
        jobs = list(self._active.values())
        for name in list(self._active):
            self._drop(name)
        if len(jobs) == 1:
            self._fail(jobs[0])
        else:
            self._suspects.extend(jobs)

    def _fail(self, job: Ready) -> None:
        self._failures += 1
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            self._crew.halt()
            self._crew.give_back(
                job.lease, is_loss=True
            )  # the model's fault, not the job's: a new replica will make it
        else:
            self._crew.fail(job.lease, "generation_failed", "The model failed while it made this video.")

    def _drop(self, name: str) -> None:
        assert self._engine is not None
        del self._active[name]
        self._engine.evict(name)

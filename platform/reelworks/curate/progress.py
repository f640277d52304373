"""What a person sees while `prepare` runs, and what its end table counts."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reelworks import storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.listing import SourceSet
from reelworks.curate.repeat import repeated

if TYPE_CHECKING:
    from reelworks.curate.board import Work

# Rates are those of the last minute: a resumed run flies over what is stored, and the estimate must forget it.
WINDOW_S = 60.0


class Progress:
    """Counts of finished chunks; prints lines and logs metrics when it is told to."""

    def __init__(
        self,
        total_sources: int,
        every_s: float,
        run: Any,
        stages: Callable[[], Mapping[str, Work]] = dict,
    ):
        self.total_sources, self.every_s = total_sources, every_s
        self.counts: Counter[str] = Counter()
        self.sources = SourceSet()
        self.quarantined: dict[str, str] = {}  # source id -> kind
        self.changed: set[str] = set()
        self._failed_in: Counter[tuple[str, str]] = Counter()  # (stage, kind) -> sources
        self._first_chunks: Counter[str] = Counter()  # state -> sources whose first chunk ended so
        self._sources_done = 0.0
        self._shots = 0
        self._failed_shots: dict[str, int] = {}  # source id -> its shots, which don't count
        self._run, self._stages = run, stages
        self._lock = threading.Lock()
        self._moved = storage.moved()
        self._samples: deque[tuple[float, dict[str, float]]] = deque([(time.monotonic(), {})])
        self._lines = 0

    def add(self, chunk: Chunk) -> None:
        """Count one finished chunk."""
        with self._lock:
            self._add(chunk)

    def _add(self, chunk: Chunk) -> None:
        self._sources_done += 1 / chunk.count
        self.counts.update(chunk.counts)
        self.counts["clips_done"] += chunk.num_clips
        source_id = chunk.source.source_id
        if chunk.number == 0:
            self.sources.add(chunk.source)
            self._first_chunks[chunk.state] += 1
            self._shots += chunk.shots
        if chunk.state == "quarantined" and chunk.failure:
            self._failed_in[chunk.failure.stage, chunk.failure.kind] += source_id not in self.quarantined
            self.quarantined[source_id] = chunk.failure.kind
        if chunk.state == "changed":
            self.changed.add(source_id)
        if chunk.state in ("quarantined", "changed"):
            self._failed_shots[source_id] = chunk.shots

    @property
    def left_out(self) -> set[str]:
        """Sources of which nothing enters the snapshot, though some of their chunks may be good."""
        return self.changed | self.quarantined.keys()

    @property
    def shots(self) -> int:
        """Shots of the sources that were not left out."""
        return self._shots - sum(self._failed_shots.values())

    def tick(self) -> None:
        """Print where the run and each of its stages are and log the same as metrics; nothing where nothing moved."""
        stages, now_s = self._stages(), time.monotonic()
        with self._lock:
            done = {"sources": self._sources_done, "clips": float(self.counts["clips_done"])}
            kinds = +self._failed_in
        done |= {stage: float(_units(stage, work)) for stage, work in stages.items()}
        if self._lines and done == self._samples[-1][1]:
            return
        values = {
            "sources_done": done["sources"],
            "clips_done": done["clips"],
            "clips_per_s": self._rate("clips", now_s, done),
            "left_s": self._left_s("sources", now_s, done, self.total_sources),
            **self.traffic(stages),
            "quarantined_so_far": float(sum(kinds.values())),
            **{f"quarantined.{stage}.{kind}": float(count) for (stage, kind), count in kinds.items()},
        }
        lines = [self._line(values, kinds)]
        for stage in stages:  # in the order in which they first did something, which is the pipeline's
            mine = self._stage(stage, stages, now_s, done)
            values |= {f"{stage}.{name}": value for name, value in mine.items()}
            lines.append(_stage_line(stage, mine))
        self._samples.append((now_s, done))
        while now_s - self._samples[0][0] > WINDOW_S and len(self._samples) > 1:
            self._samples.popleft()
        self._lines += 1
        print("\n".join(lines), flush=True)
        # An estimate that nothing has been measured for yet is no number to log.
        self._run.metrics({name: value for name, value in values.items() if value == value}, step=self._lines)

    def traffic(self, stages: Mapping[str, Work] | None = None) -> dict[str, int]:
        """Bytes of objects that the run has read and written so far, in this process and in the stages' workers."""
        work, own = (self._stages() if stages is None else stages).values(), storage.moved()
        return {
            "bytes_read": own.read - self._moved.read + sum(one.bytes_read for one in work),
            "bytes_written": own.written - self._moved.written + sum(one.bytes_written for one in work),
        }

    def _line(self, values: Mapping[str, float], kinds: Counter[tuple[str, str]]) -> str:
        by_stage = {
            stage: ", ".join(f"{kind} {count}" for (where, kind), count in sorted(kinds.items()) if where == stage)
            for stage in sorted({stage for stage, _ in kinds})
        }
        shown = "; ".join(f"{stage}: {found}" for stage, found in by_stage.items())
        return (
            f"prepare: {values['sources_done']:.0f}/{self.total_sources} sources, {values['clips_done']:.0f} clips, "
            f"{values['clips_per_s']:.1f} clips/s, {_seconds(values['left_s'])} left, "
            f"{_megabytes(values['bytes_read'])} read, {_megabytes(values['bytes_written'])} written, "
            f"{values['quarantined_so_far']:.0f} quarantined{f' ({shown})' if shown else ''}"
        )

    def _stage(
        self, stage: str, stages: Mapping[str, Work], now_s: float, done: Mapping[str, float]
    ) -> dict[str, float]:
        """How far one stage is: done, in all (estimated from the sources cut so far), rate, time left, bytes."""
        index, work = stages.get("index"), stages[stage]
        total = float(self.total_sources)
        if stage != "index":
            total = index.clips / index.sources * total if index and index.sources else float("nan")
        return {
            "done": done[stage],
            "total": max(total, done[stage]) if total == total else total,
            "per_s": self._rate(stage, now_s, done),
            "left_s": self._left_s(stage, now_s, done, total),
            "bytes_read": float(work.bytes_read),
            "bytes_written": float(work.bytes_written),
            "busy_s": work.busy_s,
        }

    def _rate(self, name: str, now_s: float, done: Mapping[str, float]) -> float:
        """How much a second, over the window."""
        since_s, before = self._samples[0]
        return max(0.0, done[name] - before.get(name, 0.0)) / max(now_s - since_s, 1e-3)

    def _left_s(self, name: str, now_s: float, done: Mapping[str, float], total: float) -> float:
        rate = self._rate(name, now_s, done)
        return max(0.0, total - done[name]) / rate if rate else float("nan")

    def source_counts(self) -> dict[str, int]:
        """sources = with_clips + no_clips + quarantined + changed. Raises RuntimeError where they don't add up."""
        # First chunks that were good although a later one failed.
        spoilt = len(self.left_out) - self._first_chunks["quarantined"] - self._first_chunks["changed"]
        found = {
            "with_clips": self._first_chunks["clips"] - spoilt,
            "no_clips": self._first_chunks["no_clips"],
            "quarantined": len(self.quarantined),
            "changed": len(self.changed - self.quarantined.keys()),
        }
        if sum(found.values()) != self.sources.count or round(self._sources_done) != self.sources.count:
            raise RuntimeError(f"{self.sources.count} sources went in, {self._sources_done:.3f} came out as {found}")
        return {"sources": self.sources.count, **found}


@contextmanager
def ticking(progress: Progress) -> Iterator[None]:
    """Tells the progress from a thread of its own, so that a stage that is slow shows as such; once more at the end."""
    with repeated(progress.tick, progress.every_s, "progress"):
        yield
    progress.tick()


def _units(stage: str, work: Work) -> int:
    """What a stage's progress is counted in: sources until they are cut, then clips."""
    return work.sources if stage == "index" else work.clips


def _stage_line(stage: str, values: Mapping[str, float]) -> str:
    total = f"{values['total']:.0f}" if values["total"] == values["total"] else "?"
    units = "sources" if stage == "index" else "clips"
    about = "" if stage == "index" else "about "
    return (
        f"  {stage:9} {values['done']:.0f} of {about}{total} {units}, {values['per_s']:.1f}/s, "
        f"{_seconds(values['left_s'])} left, {_megabytes(values['bytes_read'])} in, "
        f"{_megabytes(values['bytes_written'])} out"
    )


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value == value else "unknown time"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.1f} MB"

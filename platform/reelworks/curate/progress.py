"""What a person sees while `prepare` runs, and what its end table counts."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from reelworks.curate.chunk import Chunk
from reelworks.curate.listing import SourceSet


class Progress:
    """Counts of finished chunks; prints a line and logs metrics every few seconds."""

    def __init__(self, total_sources: int, every_s: float, run: Any):
        self.total_sources = total_sources
        self.counts: Counter[str] = Counter()
        self.sources = SourceSet()
        self.quarantined: dict[str, str] = {}  # source id -> kind
        self.changed: set[str] = set()
        self._first_chunks: Counter[str] = Counter()  # state -> sources whose first chunk ended so
        self._sources_done = 0.0
        self._shots = 0
        self._failed_shots: dict[str, int] = {}  # source id -> its shots, which don't count
        self._every_s, self._run = every_s, run
        self._start_s = self._last_s = time.monotonic()
        self._lines = 0
        self._sources_shown = -1.0

    def add(self, chunk: Chunk) -> None:
        """Count one finished chunk."""
        self._sources_done += 1 / chunk.count
        self.counts.update(chunk.counts)
        self.counts["clips_done"] += len(chunk.rows)
        source_id = chunk.source.source_id
        if chunk.number == 0:
            self.sources.add(chunk.source)
            self._first_chunks[chunk.state] += 1
            self._shots += chunk.shots
        if chunk.state == "quarantined" and chunk.failure:
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

    def tick(self, force: bool = False) -> None:
        """Print where the run is, at most once in every_s seconds."""
        now_s = time.monotonic()
        if self._sources_done == self._sources_shown or not (force or now_s - self._last_s >= self._every_s):
            return
        self._last_s, self._sources_shown = now_s, self._sources_done
        elapsed_s = now_s - self._start_s
        done, clips = self._sources_done, self.counts["clips_done"]
        left_s = elapsed_s / done * (self.total_sources - done) if done else float("nan")
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(self.quarantined.values()).items()))
        print(
            f"prepare: {done:.0f}/{self.total_sources} sources, {clips} clips, {clips / elapsed_s:.1f} clips/s, "
            f"{left_s:.0f} s left, {len(self.quarantined)} quarantined{f' ({kinds})' if kinds else ''}",
            flush=True,
        )
        self._lines += 1
        values = {"sources_done": done, "clips_done": float(clips), "clips_per_s": clips / elapsed_s}
        self._run.metrics({**values, "quarantined_so_far": float(len(self.quarantined))}, step=self._lines)

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

"""What a run of the demo costs: memory and processor time of every process that belongs to the local stack.

Memory is PSS (proportional set size): pages shared by several processes, Ray's object store among them, count once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import psutil


class Meter:
    """Samples the process trees below `roots` from a thread: `peak_pss_bytes`, `cpu_seconds`.

    A process that starts and ends between two samples is missed in both figures.
    """

    def __init__(self, roots: Iterable[int], period_s: float = 5.0) -> None:
        self.peak_pss_bytes = 0
        self._roots = list(roots)
        self._period_s = period_s
        self._cpu_by_process: dict[tuple[int, float], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="meter")

    def __enter__(self) -> Meter:
        self._baseline = self._sample_cpu()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    @property
    def cpu_seconds(self) -> float:
        return sum(seconds - self._baseline.get(key, 0.0) for key, seconds in self._cpu_by_process.items())

    def add_roots(self, pids: Iterable[int]) -> None:
        self._roots = sorted({*self._roots, *pids})

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._sample()

    def _sample(self) -> None:
        pss = 0
        for process in self._processes():
            try:
                pss += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it ended between the listing and the reading
        self.peak_pss_bytes = max(self.peak_pss_bytes, pss)
        self._cpu_by_process.update(self._sample_cpu())

    def _sample_cpu(self) -> dict[tuple[int, float], float]:
        seconds = {}
        for process in self._processes():
            try:
                times = process.cpu_times()
                seconds[(process.pid, process.create_time())] = times.user + times.system
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return seconds

    def _processes(self) -> list[psutil.Process]:
        found: dict[int, psutil.Process] = {}
        for pid in self._roots:
            try:
                root = psutil.Process(pid)
                for process in (root, *root.children(recursive=True)):
                    found[process.pid] = process
            except psutil.NoSuchProcess:
                continue
        return list(found.values())

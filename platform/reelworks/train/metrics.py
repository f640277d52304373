"""Progress of a training run for people: MLflow from rank 0 alone, and a line in the log."""

import time
from concurrent.futures import ThreadPoolExecutor

from reelworks.tracking import Run


class Progress:
    """Means of what was recorded since the last report. Ranks other than 0 have no run and do nothing."""

    def __init__(self, run: Run | None, every: int, total_steps: int) -> None:
        self.run = run
        self.every = every
        self.total_steps = total_steps
        self.sums: dict[str, float] = {}
        self.count = 0
        self.started_s = time.monotonic()
        # One thread: metrics arrive in order, and training doesn't wait for the server.
        self.sender = ThreadPoolExecutor(1)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Take in the values of a step; every `every` steps their means are reported."""
        if self.run is None:
            return
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        if step % self.every == 0:
            self._report(step)

    def _report(self, step: int) -> None:
        assert self.run is not None
        means = {name: total / self.count for name, total in self.sums.items()}
        now_s = time.monotonic()
        means["step_s"] = (now_s - self.started_s) / self.count
        self.started_s, self.sums, self.count = now_s, {}, 0
        print(f"step {step} of {self.total_steps}: " + ", ".join(f"{k} {v:.4g}" for k, v in means.items()), flush=True)
        self.sender.submit(self.run.metrics, means, step)

    def close(self) -> None:
        """Wait until everything is sent."""
        self.sender.shutdown(wait=True)

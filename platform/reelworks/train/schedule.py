"""How far a training run is, by steps or by the clock, and the learning rate that follows from it."""

import time
from dataclasses import dataclass, field


@dataclass
class Budget:
    """A run ends at `max_steps` or after `max_minutes`, whichever comes first; the decay is complete by then."""

    max_steps: int
    max_minutes: float
    started_s: float = field(default_factory=time.monotonic)

    def progress(self, step: int) -> float:
        """In [0, 1] after `step` steps; 1 is the end. Ranks must agree on it: their clocks differ."""
        elapsed_s = time.monotonic() - self.started_s
        return min(1.0, max(step / self.max_steps, elapsed_s / (60 * self.max_minutes)))


def decayed(progress: float, step: int, warmup_steps: int, decay_from: float) -> float:
    """Factor of the learning rate: up over `warmup_steps`, flat, then straight to 0 from progress `decay_from` to 1."""
    return min(1.0, (step + 1) / max(1, warmup_steps)) * min(1.0, (1 - progress) / (1 - decay_from))

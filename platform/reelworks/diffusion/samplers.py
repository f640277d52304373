"""Solvers of dx/dt = v(x, t) from noise (t = 1) to data (t = 0).

A solver is a pure function (state, velocity at the state) → next state, so that requests at different places of their
schedules share one forward of the model, and a state can be saved and taken up elsewhere. A new solver is such a
function, and nothing else changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplerState:
    """Where a request is on its way: the model is asked at (x, `timestep`)."""

    x: Tensor
    times: tuple[float, ...]
    """Timesteps from 1 down to 0."""
    index: int = 0
    """Finished intervals."""
    start: Tensor | None = None
    """x at the start of the interval, while a solver is inside one."""
    slope: Tensor | None = None
    """Velocity at the start of the interval."""

    @property
    def timestep(self) -> float:
        return self.times[self.index + (self.start is not None)]

    def to(self, device: torch.device) -> "SamplerState":
        """The same state with its tensors on a device."""
        start, slope = (None if x is None else x.to(device) for x in (self.start, self.slope))
        return replace(self, x=self.x.to(device), start=start, slope=slope)

    @property
    def done(self) -> bool:
        return self.index == len(self.times) - 1


Solver = Callable[[SamplerState, Tensor], SamplerState]


def euler(state: SamplerState, velocity: Tensor) -> SamplerState:
    """First order, one evaluation an interval."""
    width = state.times[state.index + 1] - state.times[state.index]
    return replace(state, x=state.x + width * velocity, index=state.index + 1)


def heun(state: SamplerState, velocity: Tensor) -> SamplerState:
    """Second order, two evaluations an interval (the last is one: the model isn't asked at t = 0, where no training
    sample lies)."""
    width = state.times[state.index + 1] - state.times[state.index]
    if state.start is None or state.slope is None:
        x = state.x + width * velocity
        if state.times[state.index + 1] == 0:
            return replace(state, x=x, index=state.index + 1)
        return replace(state, x=x, start=state.x, slope=velocity)
    x = state.start + width * (state.slope + velocity) / 2
    return replace(state, x=x, index=state.index + 1, start=None, slope=None)


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun}

import math

import pytest
import torch

from reelworks.diffusion.samplers import SOLVERS, SamplerState, Solver
from reelworks.diffusion.timesteps import schedule


def solve(solver: Solver, steps: int) -> float:
    """Error at t = 0 for dx/dt = x·cos(3t), whose solution is known."""
    state = SamplerState(torch.ones(1, dtype=torch.float64), tuple(schedule(steps, 1.0).tolist()))
    while not state.done:
        state = solver(state, state.x * math.cos(3 * state.timestep))
    return abs(state.x.item() - math.exp(-math.sin(3.0) / 3))


def test_euler_converges_with_order_one() -> None:
    assert solve(SOLVERS["euler"], 64) / solve(SOLVERS["euler"], 128) == pytest.approx(2, rel=0.1)


def test_heun_beats_euler_and_its_last_interval_costs_one_evaluation() -> None:
    # The last interval is one Euler step, so the error's order is that of one local error: two.
    assert solve(SOLVERS["heun"], 64) / solve(SOLVERS["heun"], 128) == pytest.approx(4, rel=0.15)
    assert solve(SOLVERS["heun"], 32) < solve(SOLVERS["euler"], 64)


@pytest.mark.parametrize(("name", "evaluations"), [("euler", 4), ("heun", 7)])
def test_a_solver_asks_the_model_as_often_as_it_claims(name: str, evaluations: int) -> None:
    state, count = SamplerState(torch.ones(1), tuple(schedule(4, 1.0).tolist())), 0
    while not state.done:
        assert 0 < state.timestep <= 1
        state, count = SOLVERS[name](state, torch.zeros(1)), count + 1
    assert count == evaluations


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_straight_path_is_followed_exactly(name: str) -> None:
    clean, noise = torch.tensor([2.0], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64)
    state = SamplerState(noise, tuple(schedule(3, 2.0).tolist()))
    while not state.done:
        state = SOLVERS[name](state, noise - clean)
    assert torch.allclose(state.x, clean, atol=1e-12)

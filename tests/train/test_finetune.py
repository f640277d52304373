"""reelworks.train.finetune and schedule: the decay is complete when the budget ends, by steps or by the clock."""

from types import SimpleNamespace

import pytest
import torch

from reelworks.train.finetune import FinetuneSpec, finetune
from reelworks.train.schedule import Budget, decayed


class Regression(torch.nn.Module):
    """A model of Transformers' manner: keyword arguments in, an object with a loss out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Linear(4, 8)
        self.inner = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(loss=(self.inner(torch.tanh(self.embed(x))) - x).square().mean())


def batch() -> dict[str, torch.Tensor]:
    return {"x": torch.randn(64, 4, generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("muon", [None, 0.02])
def test_learns_with_either_optimizer_and_reports_to_the_last_step(muon: float | None) -> None:
    spec = FinetuneSpec(
        steps=65, max_minutes=5, batch=64, learning_rate=0.02, muon_learning_rate=muon, weight_decay=0.0
    )
    reports: list[tuple[int, dict[str, float]]] = []
    steps = finetune(Regression(), iter(batch, None), spec, lambda step, values: reports.append((step, values)))
    assert steps == 65
    assert [step for step, _ in reports] == [20, 40, 60, 65]
    assert reports[-1][1]["loss"] < 0.5 * reports[0][1]["loss"]
    assert reports[-1][1]["learning_rate"] < 0.1 * 0.02


def test_the_clock_ends_a_run_that_has_steps_left() -> None:
    spec = FinetuneSpec(steps=10**9, max_minutes=0.01, batch=64, learning_rate=0.01)
    reports: list[dict[str, float]] = []
    steps = finetune(Regression(), iter(batch, None), spec, lambda step, values: reports.append(values))
    assert 1 <= steps < 10**9
    assert reports[-1]["learning_rate"] < 0.01


def test_progress_is_the_larger_of_steps_and_time() -> None:
    budget = Budget(max_steps=10, max_minutes=1e9)
    assert [budget.progress(step) for step in (0, 5, 10, 20)] == [pytest.approx(0, abs=1e-9), 0.5, 1, 1]
    assert Budget(max_steps=10**9, max_minutes=1e-9).progress(0) == 1


def test_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    values = [decayed(step / 10, step, warmup_steps=2, decay_from=0.5) for step in range(11)]
    assert values == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0])

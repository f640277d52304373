"""Average of the weights along a run, each rank its own partition: nothing is gathered until it is saved."""

from collections.abc import Sequence

import torch
from torch import Tensor


class PowerEMA:
    """Power-profile average (EDM2, arXiv:2312.02696, equation 1): its length is a share of the run so far.

    A constant decay that suits a long run would leave mostly initial weights in a short one.
    """

    def __init__(self, partitions: Sequence[Tensor], exponent: float) -> None:
        """partitions: this rank's live fp32 weights; exponent: γ, larger is shorter."""
        self.live = list(partitions)
        self.average = [part.detach().clone() for part in partitions]
        self.exponent = exponent

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 1."""
        beta = (1 - 1 / step) ** (self.exponent + 1)
        torch._foreach_lerp_(self.average, [part.detach() for part in self.live], 1 - beta)

    @torch.no_grad()
    def exchange(self) -> None:
        """Swap the live weights and the average; a second call swaps them back."""
        for live, average in zip(self.live, self.average, strict=True):
            kept = live.detach().clone()
            live.copy_(average)
            average.copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """Tensors for `load`."""
        return {str(index): part for index, part in enumerate(self.average)}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        for index, part in enumerate(self.average):
            part.copy_(state[str(index)])

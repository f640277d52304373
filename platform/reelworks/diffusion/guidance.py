"""Classifier-free guidance (arXiv:2207.12598)."""

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """v = v_null + scale × (v_text − v_null); scale 1 is the conditional velocity itself."""
    return unconditional + scale * (conditional - unconditional)

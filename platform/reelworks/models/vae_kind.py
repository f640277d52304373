"""Which VAEs can be encoded with, told from a checkpoint's config.json alone: nothing here needs torch or weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reelworks.errors import UserError

CAUSAL_VAE = "causal_vae"
"""What config.json of a CausalVAE's checkpoint says under `model`."""


def refuse_foreign(config: Mapping[str, Any], where: str) -> None:
    """Raise UserError for a checkpoint of any other network.

    A CausalVAE mixes positions by convolutions alone, so what it encodes in temporal chunks and in tiles is what it
    encodes whole. Attention over a frame, or a norm with statistics of one, has no such halo: its tiles could only be
    blended, at a loss. None of those is loaded, so nothing is blended.
    """
    if config.get("model") == CAUSAL_VAE:
        return
    found = config.get("model") or config.get("_class_name") or config.get("model_type") or "unknown"
    raise UserError(
        f"{where} is a checkpoint of {found!r}, expected {CAUSAL_VAE!r}: that one's chunks and tiles are exact",
        "name a checkpoint that train_vae wrote",
    )

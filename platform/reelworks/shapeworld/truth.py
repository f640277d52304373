"""Truth that a sidecar implies but doesn't hold: the mask of a shot's main shape at any of its moments."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from reelworks.shapeworld.render import render_moments
from reelworks.shapeworld.world import ClipSpec


def shot_mask(
    shot: Mapping[str, Any], width: int, height: int, times_s: NDArray[np.floating], fps: float
) -> NDArray[np.bool_]:
    """(T, height, width): where the main shape of a sidecar's shot is at times of the source, whose rate is `fps`.

    A frame is shown until the next one, so a time counts as that of the frame shown then.
    """
    first, last = shot["start_s"] * fps, shot["end_s"] * fps - 1
    shown = np.floor(np.asarray(times_s) * fps + 1e-6)
    moments = np.clip((shown - first) / max(last - first, 1), 0, 1) if last > first else np.full(len(times_s), 0.5)
    return render_moments(_scenes().validate_python(shot["scene"]), width, height, moments).mask


@cache
def _scenes() -> TypeAdapter[ClipSpec]:
    return TypeAdapter(ClipSpec)

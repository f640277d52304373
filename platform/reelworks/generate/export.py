"""From decoded frames to exactly what was asked: size, number of frames, MP4."""

import numpy as np
from numpy.typing import NDArray

from reelworks.generate.request import GenerationRequest


def fit(frames: NDArray[np.uint8], request: GenerationRequest) -> NDArray[np.uint8]:
    """Cut trailing frames and crop centrally: (T', H', W', 3) that covers the request → (T, H, W, 3)."""
    spare_rows, spare_columns = frames.shape[1] - request.height, frames.shape[2] - request.width
    if frames.shape[0] < request.num_frames or spare_rows < 0 or spare_columns < 0:
        raise ValueError(f"frames {frames.shape} don't cover {request.num_frames} of {request.width}x{request.height}")
    top, left = spare_rows // 2, spare_columns // 2
    return frames[: request.num_frames, top : top + request.height, left : left + request.width]


def to_mp4(frames: NDArray[np.uint8], fps: float) -> bytes:
    """H.264 in MP4 of frames (T, H, W, 3)."""
    # PyAV is loaded here alone: sampling must run on machines without it.
    from reelworks.video.encode import encode_mp4

    return encode_mp4(frames, fps)

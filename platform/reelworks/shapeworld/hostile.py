"""Files that end in quarantine: each must be refused with its reason and touch nothing else."""

import io

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from reelworks.errors import VideoErrorKind
from reelworks.shapeworld.clips import random_clips
from reelworks.video.encode import encode_video

FOLDER = "train/hostile"

# Object (below the corpus's prefix) -> why it is refused.
REASONS: dict[str, VideoErrorKind] = {
    f"{FOLDER}-audio.mov": VideoErrorKind.no_video_stream,
    f"{FOLDER}-empty.mp4": VideoErrorKind.empty,
    f"{FOLDER}-text.mp4": VideoErrorKind.not_video,
    f"{FOLDER}-truncated.mp4": VideoErrorKind.truncated,
}


def hostile_files() -> dict[str, bytes]:
    """Every hostile object, key -> bytes; always the same."""
    files = (_audio_only(), b"", _text(), _truncated())
    return dict(zip(REASONS, files, strict=True))


def _text() -> bytes:
    return b"This is a text, whatever its name says.\n" * 20


def _truncated() -> bytes:
    """The first 60% of a good MP4: its index promises frames that aren't there."""
    clip = next(random_clips(1, seed=0, sizes=[(48, 32)], num_frames=[17]))
    whole = encode_video(clip.frames, 8)
    return whole[: len(whole) * 6 // 10]


def _audio_only(seconds: float = 1.0, rate: int = 8000, samples: int = 1024) -> bytes:
    """A tone in a MOV without any picture; PCM, for FFmpeg's AAC encoder doesn't always give the same bytes."""
    out = io.BytesIO()
    with av.open(out, "w", format="mov", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("pcm_s16le", rate=rate)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        for first in range(0, int(seconds * rate), samples):
            tone = np.sin(2 * np.pi * 440 * np.arange(first, first + samples) / rate)
            frame = AudioFrame.from_ndarray((6000 * tone).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, first
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()

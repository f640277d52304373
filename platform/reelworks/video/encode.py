"""Frames to a video file in memory. Frames are uint8 (T, H, W, 3), RGB."""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream


class _Encoder(NamedTuple):
    name: str
    pixel_format: str
    options: Mapping[str, str] = {}


ENCODERS: Mapping[str, _Encoder] = {
    # cpu-independent: x264's assembly for mbtree gives other bytes now and then on pictures of a few macroblocks.
    "h264": _Encoder("libx264", "yuv420p", {"preset": "veryfast", "crf": "18", "x264-params": "cpu-independent=1"}),
    "hevc": _Encoder("libx265", "yuv420p", {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:crf=20"}),
    "av1": _Encoder("libsvtav1", "yuv420p", {"preset": "10", "crf": "20", "svtav1-params": "lp=1"}),
    # A negative cpu-used is a fixed speed; a positive one lets VP8 choose by the clock: other bytes on a busy machine.
    "vp8": _Encoder("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "-8", "crf": "8", "b": "4M"}),
    "vp9": _Encoder("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"}),
    "mpeg1video": _Encoder("mpeg1video", "yuv420p", {"qmin": "2", "qmax": "3", "strict": "unofficial"}),
    "mpeg2video": _Encoder("mpeg2video", "yuv420p", {"qmin": "2", "qmax": "3"}),
    "mpeg4": _Encoder("mpeg4", "yuv420p", {"qmin": "2", "qmax": "3"}),
    "flv1": _Encoder("flv", "yuv420p", {"qmin": "2", "qmax": "3"}),
    "mjpeg": _Encoder("mjpeg", "yuvj420p", {"qmin": "2", "qmax": "3"}),
    "prores": _Encoder("prores_ks", "yuv422p10le"),
    "ffv1": _Encoder("ffv1", "yuv444p"),
    "gif": _Encoder("gif", "rgb8"),
    "png": _Encoder("png", "rgb24"),
}
"""The encoder of each codec, its usual pixel format, and options for a good picture at little CPU."""

_AV1_MIN_PX = 64
"""SVT-AV1 writes outside its memory on smaller pictures."""
_HEVC_MIN_WIDTH_PX = 64
"""x265 writes outside its memory on narrower pictures (seen at 32 to 48): the process dies later, anywhere."""

MUXERS: Mapping[str, str] = {
    "mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "avi": "avi", "ts": "mpegts", "mpg": "vob",
    "flv": "flv", "ivf": "ivf", "gif": "gif", "png": "image2pipe", "jpg": "image2pipe",
}  # fmt: skip
"""FFmpeg's muxer for each file name ending."""


def encode_mp4(frames: np.ndarray, fps: float, crf: int = 18) -> bytes:
    """H.264 in MP4 that browsers play, its index in front; the same bytes for the same frames.

    yuv420p holds even sizes only, so an odd size is written as yuv444p and keeps its exact size.
    """
    return encode_video(frames, fps, "h264", "mp4", options={"crf": str(crf)})


def encode_video(
    frames: np.ndarray,
    fps: float,
    codec: str = "h264",
    container: str = "mp4",
    pixel_format: str | None = None,
    *,
    pts: Sequence[int] | None = None,
    pixel_aspect: Fraction | None = None,
    options: Mapping[str, str] | None = None,
    muxer_options: Mapping[str, str] | None = None,
) -> bytes:
    """Encode uint8 (T, H, W, 3) with a codec of ENCODERS into a container of MUXERS, with one thread.

    `pts` (T,), in units of 1 / (1000 · fps) of a second, makes a variable frame rate. Raises ValueError.
    """
    encoder, muxer = _choose(frames, codec, container)
    rate = Fraction(fps).limit_denominator(1001)
    out = io.BytesIO()
    file_options = {"movflags": "+faststart"} if muxer in ("mp4", "mov") else {}
    every_option = file_options | dict(muxer_options or {})
    with (
        _own_priority(),
        av.open(out, "w", format=muxer, options=every_option, io_open=lambda *_: _SecondView(out)) as file,
    ):
        stream = file.add_stream(encoder.name, rate=rate)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        _configure(context, frames, encoder, pixel_format)
        context.options = dict(encoder.options) | dict(options or {})
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        converter = VideoReformatter()
        ticks = 1
        if pts is not None:
            ticks = 1000
            context.time_base = 1 / (rate * ticks)
        for index, picture in enumerate(frames):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            # Converted here with one thread: the encoder's own conversion starts a pool of them for every frame.
            frame = converter.reformat(frame, format=context.pix_fmt, threads=1)
            frame.pts = index if pts is None else pts[index]
            frame.time_base = 1 / (rate * ticks)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


@contextmanager
def _own_priority() -> Iterator[None]:
    """Give this thread back its scheduling: as root, SVT-AV1 makes it a real-time one, and whatever it starts later
    with it, so that nothing else on the machine gets a turn."""
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)


class _SecondView:
    """Reads what has been written so far; the MP4 muxer asks for it when it moves the index to the front."""

    def __init__(self, written: io.BytesIO):
        self._written = written
        self._at = 0

    def read(self, count: int) -> bytes:
        data = bytes(self._written.getbuffer()[self._at : self._at + count])
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._written.getbuffer().nbytes}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Nothing to close: the memory belongs to the writer."""


def _choose(frames: np.ndarray, codec: str, container: str) -> tuple[_Encoder, str]:
    """Check what was asked for. Raises ValueError."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError(f"Expected uint8 frames (T, H, W, 3) with T >= 1, got {frames.dtype} {frames.shape}.")
    if codec not in ENCODERS:
        raise ValueError(f"No encoder for codec {codec!r}; choose one of {', '.join(ENCODERS)}.")
    if container not in MUXERS:
        raise ValueError(f"No muxer for container {container!r}; choose one of {', '.join(MUXERS)}.")
    if codec == "av1" and min(frames.shape[1:3]) < _AV1_MIN_PX:
        raise ValueError(f"AV1 is encoded from {_AV1_MIN_PX}x{_AV1_MIN_PX} pixels on, got {frames.shape[1:3]}.")
    if codec == "hevc" and frames.shape[2] < _HEVC_MIN_WIDTH_PX:
        raise ValueError(f"HEVC is encoded from a width of {_HEVC_MIN_WIDTH_PX} pixels on, got {frames.shape[1:3]}.")
    return ENCODERS[codec], MUXERS[container]


def _configure(context: VideoCodecContext, frames: np.ndarray, encoder: _Encoder, pixel_format: str | None) -> None:
    height, width = frames.shape[1:3]
    context.width, context.height = width, height
    context.pix_fmt = pixel_format or encoder.pixel_format
    if pixel_format is None and (height % 2 or width % 2) and encoder.name in ("libx264", "libx265"):
        context.pix_fmt = "yuv444p"
    context.thread_count = 1
    if context.pix_fmt.startswith("yuv4"):  # said, or players guess by the picture's size
        context.colorspace = 6  # AVCOL_SPC_SMPTE170M: what the scaler makes of RGB
        context.color_range = 1  # limited

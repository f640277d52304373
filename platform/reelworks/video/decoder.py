"""Packets to frames, and the damage that a decoder reports only to its log or one packet late.

Decoders conceal: a macroblock that can't be decoded is copied from its neighbours, and the frame looks like any other
to the caller. What each one tells, measured on damaged files: see `tests/video/test_damage.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from av import logging
from av.codec.context import CodecContext
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelworks.errors import VideoError, VideoErrorKind

_STRICTER = {"vp9": "libvpx-vp9"}
"""Decoders with the same pixels at the same speed that notice when a tile's data run out, as FFmpeg's own doesn't."""

_STRICTER_FORMATS = ("yuv420p", "yuv422p", "yuv440p", "yuv444p")
"""Pixel formats in which their frames were compared."""

_ERRS_LATE = "libdav1d"
"""Gives a damaged frame first and its error with the next packet."""

_HARMLESS = (
    "sei", "mmco: ", "number of reference frames", "missing picture in access unit", "no frame!", "metadata",
    "unknown obu", "itu-t t.35", "app fields", "app: ", "com:", "not implemented", "icc profile",
)  # fmt: skip
"""Parts of messages at the level of errors that say nothing about the pixels."""

_WARNS_OF_DAMAGE = "Skipping invalid undecodable NALU"
"""The one warning that means lost pixels: a unit whose header can't be one."""


class Decoder:
    """The decoder of one stream since its opening or the last seek. Raises VideoError, av.error.FFmpegError."""

    def __init__(self, stream: VideoStream, options: dict[str, str], turned: bool | None):
        """`turned`: whether the stream's frames carry a display matrix; None where that isn't known yet."""
        stream.codec_context.options = options
        self.turned = turned
        self._own: VideoCodecContext = stream.codec_context
        self._context = self._own
        name = _STRICTER.get(self._own.codec.canonical_name)
        # The container's display matrix is handed to FFmpeg's own decoder only.
        if name is not None and self._own.pix_fmt in _STRICTER_FORMATS and not turned:
            self._context = _context(name, self._own, options)
        self._late = self._context.codec.name == _ERRS_LATE
        self.restart()

    def restart(self) -> None:
        """Forget what came before a seek; the container has flushed its own decoder."""
        if self._context is not self._own:
            self._context.flush_buffers()
        self._held: list[VideoFrame] = []
        self._key_time: float | None = None
        self._began_with_key = False

    def starts_with(self, frame: VideoFrame) -> bool:
        """True where the first frame since the last seek is a key frame."""
        return bool(frame.key_frame) if self._context is self._own else self._began_with_key

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """Frames in display order that a packet completes; with None those still inside."""
        judged = packet is None or self._is_judged(packet)
        with _listening() as messages:
            frames = self._context.decode(packet)
        reason = next((text for level, name, text in messages if self._is_damage(level, name, text)), None)
        if judged and reason is not None:
            raise VideoError(VideoErrorKind.corrupt, f"The decoder reports damage: {reason.strip().rstrip('.')}.")
        if self.turned is None and packet is not None:
            frames = self._compared(packet, frames)
        if frames and self._key_time is None:
            self._key_time = float("-inf")  # a stream without key frames, whose pictures are whole from here on
        if self._late:
            frames = self._held + frames
            self._held = frames[-1:] if packet is not None else []
            frames = frames[: len(frames) - len(self._held)]
        return frames

    def _is_judged(self, packet: Packet) -> bool:
        """False for what may lack its references rightly: before the first key frame, or shown before it (open GOP)."""
        if self._key_time is None:
            if not packet.is_keyframe:
                return False
            self._key_time = float("-inf") if packet.pts is None else packet.pts
            self._began_with_key = True
        return packet.pts is None or packet.pts >= self._key_time

    def _is_damage(self, level: int, name: str, text: str) -> bool:
        if name != self._context.codec.name:
            return False
        if level > logging.ERROR:
            return _WARNS_OF_DAMAGE in text
        said = text.lower()
        return not any(part in said for part in _HARMLESS)

    def _compared(self, packet: Packet, frames: list[VideoFrame]) -> list[VideoFrame]:
        """Learn from FFmpeg's own decoder whether frames carry a display matrix; go on with that one if they do."""
        if self._context is self._own:
            known = frames
        else:
            known = self._own.decode(packet)
        if known:
            self.turned = any(data.type == Type.DISPLAYMATRIX for data in known[0].side_data)  # type: ignore[attr-defined]
            if self.turned:
                self._context, frames = self._own, known
        return frames


def _context(name: str, like: VideoCodecContext, options: dict[str, str]) -> VideoCodecContext:
    context = CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    if like.extradata:
        context.extradata = like.extradata
    context.options = options
    context.thread_count = 1
    return context


@contextmanager
def _listening() -> Iterator[list[tuple[int, str, str]]]:
    """(level, name, text) of what this thread's FFmpeg logs meanwhile; for one thread at a time, as a child has."""
    logging.set_skip_repeated(False)  # or a second file's damage would go unheard where the first one's was the same
    logging.set_level(logging.WARNING)
    try:
        with logging.Capture() as messages:
            yield messages
    finally:
        logging.set_level(None)

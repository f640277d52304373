"""Packets to frames, and `corrupt` for those in which something tells of damage.

Most codecs carry no checksums, so what is found rests on what a decoder trips over. Measured on files damaged at fixed
places (`tests/video/test_damage.py`): nothing wrong is given out of nine in ten files of H.264, AV1, MPEG-2, MPEG-4,
MJPEG and ProRes, eight of VP9, MPEG-1 and GIF, six to seven of HEVC (lost and zeroed parts; all where the stream has
hashes of its pictures). VP8 notices nothing. Matroska with checksums, as FFmpeg writes it, shows all in any codec.
"""

from collections.abc import Iterator
from typing import Any

from av.codec.context import CodecContext, Flags
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.complaints import Listening, about_pixels, about_structure
from reelworks.video.units import holds_impossible_bytes, length_bytes

_STRICTER = {"vp9": "libvpx-vp9"}
"""Decoders with the same pixels, in 0.9 to 1.2 of the time, that notice when a tile's data run out; FFmpeg's don't."""

_STRICTER_FORMATS = ("yuv420p", "yuv422p", "yuv440p", "yuv444p")
"""Pixel formats in which their frames were compared."""

_ERRS_LATE = "libdav1d"
"""Gives a damaged frame first, and its error with the next packet."""

_CHECKED = {"hevc": {"err_detect": "crccheck"}}
"""Options by which a decoder compares its pictures with hashes in the stream, where it has them."""


def whole_packets(packets: Iterator[Packet], demuxer: str) -> Iterator[Packet]:
    """The packets of a stream. Raises VideoError `corrupt` where the demuxer skips what it can't read."""
    if demuxer != "matroska":  # the others mark such packets, or say nothing
        yield from packets
        return
    while True:
        with Listening() as messages:
            packet = next(packets, None)
        reason = about_structure(messages)
        if reason is not None:
            raise VideoError(VideoErrorKind.corrupt, f"The container is damaged: {reason}.")
        if packet is None:
            return
        yield packet


class Decoder:
    """The decoder of one stream since its opening or the last seek. Raises VideoError, av.error.FFmpegError."""

    def __init__(self, own: VideoCodecContext, options: dict[str, str], turned: bool | None):
        """`turned`: whether the stream's frames carry a display matrix; None where that isn't known yet."""
        self.turned = turned
        self._codec = own.codec.canonical_name
        own.options = options | _CHECKED.get(self._codec, {})
        own.flags |= Flags.copy_opaque  # of a packet to its frame: see reelworks.video.places
        self._own = self._context = own
        name = _STRICTER.get(self._codec)
        # The container's display matrix is handed to FFmpeg's own decoder only.
        if name is not None and own.pix_fmt in _STRICTER_FORMATS and not turned:
            self._context = _context(name, own, options)
        self._late = self._context.codec.name == _ERRS_LATE
        self._length_bytes = length_bytes(self._codec, own.extradata)
        self.restart()

    def restart(self) -> None:
        """Forget what came before a seek; the container has flushed its own decoder."""
        if self._context is not self._own:
            self._context.flush_buffers()
        self._held: list[VideoFrame] = []
        self._first_shown: float | None = None
        self._began_with_key = False

    @property
    def leaves_out_keys(self) -> bool:
        """True where the frames don't say whether they are key frames; then their packets, of VP9, do."""
        return self._context is not self._own

    def starts_with(self, frame: VideoFrame) -> bool:
        """True where the first frame since the last seek is a key frame."""
        return self._began_with_key if self.leaves_out_keys else bool(frame.key_frame)

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """Frames in display order that a packet completes; with None those still inside."""
        judged = packet is None or self._is_judged(packet)
        with Listening() as messages:
            frames = self._context.decode(packet)
        reason = about_pixels(messages, self._context.codec.name)
        if reason is None and packet is not None and self._length_bytes is not None:
            if holds_impossible_bytes(bytes(packet), self._codec, self._length_bytes):
                reason = "a unit of the stream breaks off in zeros"
        if judged and reason is not None:
            raise VideoError(VideoErrorKind.corrupt, f"The decoder met damage: {reason}.")
        if self.turned is None and packet is not None:
            frames = self._compared(packet, frames)
        if frames and self._first_shown is None:
            self._first_shown = float("-inf")  # no key frames here: pictures were refreshed bit by bit, and are whole
        return self._settled(frames, packet is None) if self._late else frames

    def _is_judged(self, packet: Packet) -> bool:
        """False for what may rightly lack references: before the first key frame, or shown before it (open GOP)."""
        if self._first_shown is None:
            if not packet.is_keyframe:
                return False
            self._first_shown = float("-inf") if packet.pts is None else packet.pts
            self._began_with_key = True
        return packet.pts is None or packet.pts >= self._first_shown

    def _settled(self, frames: list[VideoFrame], last: bool) -> list[VideoFrame]:
        """All but the newest frame, which the next packet may still prove wrong."""
        frames = self._held + frames
        self._held = [] if last else frames[-1:]
        return frames[: len(frames) - len(self._held)]

    def _compared(self, packet: Packet, frames: list[VideoFrame]) -> list[VideoFrame]:
        """Learn from FFmpeg's own decoder whether frames carry a display matrix; go on with that one if they do."""
        known = frames if self._context is self._own else self._own.decode(packet)
        if known:
            side_data: Any = known[0].side_data  # typed as a mapping, yields the data themselves
            self.turned = any(data.type == Type.DISPLAYMATRIX for data in side_data)
            if self.turned:
                self._context, frames = self._own, known
        return frames


def _context(name: str, like: VideoCodecContext, options: dict[str, str]) -> VideoCodecContext:
    context = CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    if like.extradata:
        context.extradata = like.extradata
    context.options = options
    context.flags |= Flags.copy_opaque
    context.thread_count = 1
    return context

"""Decoded frames of one stream in display order, from its start or from a time, with errors typed."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, dropwhile, islice
from statistics import median
from typing import BinaryIO

from av.packet import Packet
from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.checksums import ClusterSums
from reelworks.video.container import choose_stream, decoder_errors, open_container
from reelworks.video.decoder import Decoder, whole_packets
from reelworks.video.extent import boxes_run_out, is_short
from reelworks.video.frames import Picture, picture_of
from reelworks.video.index import Index, announce, check_limits, read_index
from reelworks.video.layout import Remote, withheld
from reelworks.video.limits import Limits
from reelworks.video.seeking import NUMBERED, SEARCHED, margins_s, pays
from reelworks.video.slots import Slots, Unproven, continued_time, slots_are_sure
from reelworks.video.sniff import HEAD_BYTES, sniff
from reelworks.video.source import size_of
from reelworks.video.tracks import states_rates
from reelworks.video.turned import picture_in_header

_LATEST_S = 1e9
"""A time beyond the end of every file, in seconds."""

_FRUITLESS_PACKETS = 300
"""Packets without a frame after which a file is given up: ten seconds of video."""

_PACKETS_CAN_BE_LOST = ("mpegts", "mpeg")
"""Containers made for lossy lines: a packet marked corrupt is one with a gap, not one cut by the end of the file."""

_USUAL_STEPS = 64
"""Frames from which the usual distance of two frames is taken."""

_PLAUSIBLE_FPS = 240
_RATE_FRAMES = 9

Timed = tuple[int, VideoFrame]


class FrameStream:
    """The chosen video stream of one file."""

    def __init__(self, file: BinaryIO, limits: Limits, ordered: bool = False):
        """`ordered`: the caller has seen all frames of this very file, so its times increase up to its end."""
        self._file, self.limits = file, limits
        self._turned: bool | None = None
        self.file_bytes = size_of(file)
        head = file.read(HEAD_BYTES)
        self.demuxer = sniff(head)
        self.states_rate = self.demuxer != "matroska" or states_rates(head)
        short = is_short(file, self.demuxer, head, self.file_bytes)
        self._open()
        self.index: Index = read_index(self.stream, self.demuxer, self.file_bytes, short)
        self._in_order = ordered and (self.demuxer not in NUMBERED or slots_are_sure(self.stream, self.index))
        check_limits(self.container, self.stream, self.index, limits)
        self.time_base = self.stream.time_base or Fraction(1, 1000)
        self._fresh: Iterator[Timed] | None = None
        self._size: tuple[int, int] | None = None
        self._slots: Slots | None = None
        self._draining = self._sought = False
        self.cut = self._cut_by_header = self.index.truncated or short
        checked = self.demuxer == "matroska" and not isinstance(file, Remote)  # a range has no whole clusters
        self.sums = ClusterSums(file if checked else None, self.file_bytes)

    def _open(self) -> None:
        self._file.seek(0)
        try:
            self.container = open_container(self._file, self.demuxer)
            self.stream = choose_stream(self.container)
        except VideoError as error:
            header = error.kind in (VideoErrorKind.corrupt, VideoErrorKind.no_video_stream)
            if header and self.demuxer == "mov" and boxes_run_out(self._file, self.file_bytes):
                raise VideoError(VideoErrorKind.truncated, "The file ends before its index (moov).", 0) from error
            raise
        self._decoder = Decoder(self.stream.codec_context, {"max_pixels": str(self.limits.max_pixels)}, self._turned)

    def close(self) -> None:
        self._fresh = None
        self.container.close()

    def first_picture(self) -> Picture:
        """Decode the first frame, which comes again from `from_start`; where it wasn't fetched, the header tells."""
        frames = self._checked()
        try:
            first = next(frames, None)
        except VideoError as error:
            if not self.is_partial():
                raise VideoError(error.kind, error.message, 0) from error
            first = None
        if self.is_partial():  # then the end that was met isn't the file's
            self.cut = self._cut_by_header
        if first is not None:
            self._fresh = chain([first], frames)
            return picture_of(first[1], first[0])
        if self.is_partial():
            return picture_in_header(self.stream, self._file, self.file_bytes)
        kind = VideoErrorKind.truncated if self.cut else VideoErrorKind.corrupt
        raise VideoError(kind, "No frame can be decoded.", 0)

    def is_partial(self) -> bool:
        """True where opening the file would have cost more than it may, and some of it wasn't read."""
        return withheld(self._file)

    def rate(self) -> Fraction:
        """Mean frames a second by the header, or by the first frames where the header has only its clock's rate."""
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(0)
        if rate <= _PLAUSIBLE_FPS or self.index.shown is not None or self._fresh is None:
            return rate
        peeked, rest = list[Timed](), self._fresh
        try:
            peeked.extend(islice(rest, _RATE_FRAMES))
        except VideoError:
            self._fresh = None  # decoding starts again, meets the same error, and reports it
            return rate
        self._fresh = chain(peeked, rest)
        ticks = peeked[-1][0] - peeked[0][0]
        return (len(peeked) - 1) / (ticks * self.time_base) if ticks else rate

    def packet_times(self) -> list[int | None]:
        """Presentation times of all frames, in decoding order, from the packets alone."""
        self._restart()
        self._fresh = None
        with self._typed_errors():
            packets = (one for one in self.container.demux(self.stream) if one.size and not one.is_discard)
            return [self.sums.check(packet).pts for packet in packets]

    def from_start(self) -> Iterator[Timed]:
        """Every frame that is shown, with its integer timestamp, strictly increasing; then what was wrong is raised."""
        if self._fresh is None:
            self._restart()
            return self._checked()
        frames, self._fresh = self._fresh, None
        return frames

    def from_time(self, time_s: float, until_s: float) -> Iterator[Timed]:
        """Frames from one at or before the time on (from the first one, if it comes later).

        `until_s`, the last time that will be asked for, bounds what is fetched ahead from a remote file.
        """
        base = self.time_base
        start = self.stream.start_time or 0
        try:
            for margin_s in margins_s(self.demuxer, self._in_order, Fraction(time_s) - start * base):
                target = int((Fraction(time_s) - margin_s) / base)
                if target <= start:
                    break
                announce(self._file, self.stream, self.demuxer, target, int(min(until_s, _LATEST_S) / base))
                frames = self._after_seek(target, time_s)
                if frames is not None:
                    return self._walked_if_unproven(frames)
        except Unproven:
            self._in_order = False
        return self.from_start()

    def _walked_if_unproven(self, frames: Iterator[Timed]) -> Iterator[Timed]:
        """Frames behind a jump, and from where it turns out that they may be wrong, those of a walk from the start."""
        last: int | None = None
        try:
            for timed in frames:
                last = timed[0]
                yield timed
        except Unproven:
            self._in_order = False
            yield from (timed for timed in self.from_start() if last is None or timed[0] > last)

    @property
    def only_walks(self) -> bool:
        """True where a late frame is reached through all that lie before it."""
        return not margins_s(self.demuxer, self._in_order, _LATEST_S)

    def seek_pays(self, pts: int, time_s: float) -> bool:
        """True where a key frame lies between the frame at `pts` and the time, or the time lies before `pts`."""
        target = int(Fraction(time_s) / self.time_base)
        shown_s = pts * self.time_base.numerator / self.time_base.denominator  # as the times of frames are told
        return time_s < shown_s or pays(self.stream, self.demuxer, self._sought, self._in_order, pts, target)

    def _after_seek(self, target: int, time_s: float) -> Iterator[Timed] | None:
        """Frames from the key frame before `target`, or None where the first one isn't at or before the time."""
        self._fresh, self._sought = None, True
        with decoder_errors("Seeking failed", VideoErrorKind.corrupt):
            self.container.seek(target, stream=self.stream, backward=True)
        self._decoder.restart()
        frames = self._checked(whole=False)
        first = next(frames, None)
        if first is None or not self._decoder.starts_with(first[1]) or first[0] * self.time_base > Fraction(time_s):
            return None
        return chain([first], frames)

    def _restart(self) -> None:
        """Stand at the first packet again."""
        if self.demuxer == "mov" and self.index.shown is not None and len(self.stream.index_entries):
            with decoder_errors("Seeking failed", VideoErrorKind.corrupt):
                self.container.seek(self.stream.index_entries[0].timestamp, stream=self.stream, backward=True)
            self._decoder.restart()
        else:  # a seek to the start may miss the first frames where no index names them
            self.container.close()
            self._open()

    def _checked(self, whole: bool = True) -> Iterator[Timed]:
        """Frames to the end; raises there where the file is cut, or `whole` and fewer than the index names."""
        count = 0
        try:
            for count, timed in enumerate(self._ordered(self._decoded(jumped=not whole)), start=1):  # noqa: B007
                yield timed
        except VideoError as error:
            if not whole and self.demuxer in NUMBERED:
                raise Unproven from error  # of a file that was seen whole: the jump went wrong
            raise
        if self.cut:
            total = f" of {self.index.shown}" if self.index.shown is not None else ""
            after = f", after {count}{total} frames" if whole else ""
            raise VideoError(VideoErrorKind.truncated, f"The file ends early{after}.")
        if whole and self.index.shown is not None and count < self.index.shown:
            message = f"The index names {self.index.shown} frames, {count} can be decoded."
            raise VideoError(VideoErrorKind.count_mismatch, message)

    def _decoded(self, jumped: bool) -> Iterator[VideoFrame]:
        """Frames as the decoder gives them, behind a jump from a key frame on; ends where the file is cut."""
        fruitless = 0
        self._slots = Slots(self.stream, jumped) if self.demuxer == "avi" else None
        self._draining = False
        packets = whole_packets(self.container.demux(self.stream), self.demuxer)
        if jumped and self.demuxer in SEARCHED:  # it ends anywhere; a decoder complains of what lacks its references
            packets = dropwhile(lambda packet: packet.size and not packet.is_keyframe, packets)
        while not self._draining:
            with self._typed_errors():
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.has_sidedata("encryption_info"):
                    raise VideoError(VideoErrorKind.encrypted, "The video stream is encrypted.", 0)
                if self._slots is not None and not self._slots.admit(packet):
                    continue
                self._draining = not packet.size or self._cut_inside(self.sums.check(packet))
                frames = self._decoder.decode(None if self._draining else packet)
            self._turned = self._decoder.turned
            if self._slots is not None:
                self._slots.add(packet, len(frames))
            fruitless = 0 if frames else fruitless + 1
            if fruitless > _FRUITLESS_PACKETS + self.index.leading + self.index.hidden:
                raise VideoError(VideoErrorKind.corrupt, f"{fruitless} packets in a row give no frame.", 0)
            yield from frames

    def _cut_inside(self, packet: Packet) -> bool:
        """True where the file ends inside this packet. Raises VideoError `corrupt` for a damaged one."""
        if packet.is_corrupt and self.demuxer in _PACKETS_CAN_BE_LOST:
            raise VideoError(VideoErrorKind.corrupt, "Packets of the transport stream are missing or damaged.")
        self.cut = self.cut or packet.is_corrupt
        return packet.is_corrupt

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """FFmpeg's complaints while decoding: `truncated` in a file that is shorter than it says, else `corrupt`."""
        try:
            with decoder_errors("Decoding stopped", VideoErrorKind.corrupt):
                yield
        except VideoError as error:
            self.cut = self.cut or (self.demuxer == "mov" and boxes_run_out(self._file, self.file_bytes))
            if self.cut and error.kind is VideoErrorKind.corrupt:
                raise VideoError(VideoErrorKind.truncated, f"The file ends early. {error.message}") from error
            raise

    def _ordered(self, frames: Iterator[VideoFrame]) -> Iterator[Timed]:
        """Frames with strictly increasing timestamps and one size. Raises VideoError."""
        last: int | None = None
        steps: deque[int] = deque(maxlen=_USUAL_STEPS)
        for frame in frames:
            pts = self._timestamp(frame, last)
            if self._draining and self.cut and steps and last is not None and 2 * (pts - last) > 3 * median(steps):
                return  # the frames shown in between were lost with the end of the file: the good prefix ends here
            if frame.is_corrupt:
                at_s = float(pts * self.time_base)
                raise VideoError(VideoErrorKind.corrupt, f"The frame at {at_s:.3f} s is damaged.")
            if self._size is None:
                self._size = (frame.width, frame.height)
            if (frame.width, frame.height) != self._size:
                change = f"from {self._size[0]}x{self._size[1]} to {frame.width}x{frame.height}"
                raise VideoError(VideoErrorKind.resolution_change, f"The picture's size changes {change}.")
            if last is not None and pts < last:
                raise VideoError(VideoErrorKind.corrupt, f"Timestamps go backwards, from {last} to {pts}.")
            if last is None:
                yield pts, frame
            elif pts > last:  # a second frame at the same instant is never seen
                steps.append(pts - last)
                yield pts, frame
            last = pts

    def _timestamp(self, frame: VideoFrame, last: int | None) -> int:
        """The frame's presentation time; where the container leaves it out, the place it has in the stream's rate."""
        pts = self._slots.take() if self._slots is not None else None
        pts = frame.pts if pts is None and self.demuxer != "mpeg" else pts
        return pts if pts is not None else continued_time(self.stream, frame.pts, last)

"""Decoded frames of one stream in display order, from its start or from a time, with errors typed."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, islice
from statistics import median
from typing import BinaryIO

from av.packet import Packet
from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.checksums import ClusterSums
from reelworks.video.configuration import Configuration
from reelworks.video.container import decoder_errors, open_stream
from reelworks.video.decoder import Decoder, whole_packets
from reelworks.video.extent import boxes_run_out, is_short
from reelworks.video.frames import Picture, picture_of
from reelworks.video.gaps import continued_time, own_times
from reelworks.video.index import PLAUSIBLE_FPS, Index, announce, check_limits, read_index, told_rate
from reelworks.video.layout import Remote, withheld
from reelworks.video.limits import Limits
from reelworks.video.places import Marks, Place, Unproven, frames_from, marked_place, packets_from
from reelworks.video.slots import Slots
from reelworks.video.sniff import HEAD_BYTES, sniff
from reelworks.video.source import size_of
from reelworks.video.tracks import VideoTracks
from reelworks.video.turned import picture_in_header

_FRUITLESS_PACKETS = 300
"""Packets without a frame after which a file is given up: ten seconds of video."""

_PACKETS_CAN_BE_LOST = ("mpegts", "mpeg")
"""Containers made for lossy lines: a packet marked corrupt is one with a gap, not one cut by the end of the file."""

_USUAL_STEPS = 64
"""Frames from which the usual distance of two frames is taken."""

_RATE_FRAMES = 9

Timed = tuple[int, VideoFrame]


class FrameStream:
    """The chosen video stream of one file."""

    def __init__(self, file: BinaryIO, limits: Limits):
        self._file, self.limits = file, limits
        self._turned: bool | None = None
        self.file_bytes = size_of(file)
        head = file.read(HEAD_BYTES)
        self.demuxer = sniff(head)
        tracks = VideoTracks(file) if self.demuxer == "matroska" else None
        short = is_short(file, self.demuxer, head, self.file_bytes)
        self._open()
        self._track = tracks.at(self.container.streams.video.index(self.stream)) if tracks else None
        self.index: Index = read_index(self.stream, self.demuxer, self.file_bytes, short)
        check_limits(self.container, self.stream, self.index, limits)
        self.time_base = self.stream.time_base or Fraction(1, 1000)
        self._step = 1 / ((self._told_rate() or 25) * self.time_base)  # the usual distance of two frames, in ticks
        self._fresh: Iterator[Timed] | None = None
        self._size: tuple[int, int] | None = None
        self._slots: Slots | None = None
        self.draining = self.sought = False
        self.cut = self._cut_by_header = self.index.truncated or short
        checked = self.demuxer == "matroska" and not isinstance(file, Remote)  # a range has no whole clusters
        self.sums = ClusterSums(file if checked else None, self.file_bytes)

    def _open(self) -> None:
        self.container, self.stream = open_stream(self._file, self.demuxer, self.file_bytes)
        context = self.stream.codec_context
        self._decoder = Decoder(context, {"max_pixels": str(self.limits.max_pixels)}, self._turned)
        self._configuration = Configuration(context.codec.canonical_name, context.extradata)
        self._spoilt = False  # by damage: some of what a decoder met it keeps over a seek

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
            return picture_in_header(self.stream, self._file, self.file_bytes, self._track)
        kind = VideoErrorKind.truncated if self.cut else VideoErrorKind.corrupt
        raise VideoError(kind, "No frame can be decoded.", 0)

    def is_partial(self) -> bool:
        """True where opening the file would have cost more than it may, and some of it wasn't read."""
        return withheld(self._file)

    def rate(self) -> Fraction:
        """Mean frames a second by the header, or by the first frames where the header has only its clock's rate."""
        rate = self._told_rate()
        if rate <= PLAUSIBLE_FPS or self._track is not None or self.index.shown is not None or self._fresh is None:
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

    def _told_rate(self) -> Fraction:
        return told_rate(self.stream) if self._track is None else self._track.rate(self.stream)

    def packet_times(self) -> list[int | None]:
        """Presentation times of all frames, in decoding order, from the packets alone."""
        self._restart()
        self._fresh = None
        with self._typed_errors():
            packets = (one for one in self.container.demux(self.stream) if one.size and not one.is_discard)
            return [self.sums.check(packet).pts for packet in packets]

    def from_start(self) -> Iterator[Timed]:
        """Every frame that is shown, with its integer timestamp, strictly increasing; then what was wrong is raised."""
        frames, self._fresh = self._fresh, None
        if frames is None:
            self._restart()
            frames = self._checked()
        return frames

    def after_seek(self, target: int, until: int) -> Iterator[Timed]:
        """Frames from the key frame on that the container's index has before a time; `until` another one is read."""
        self.sought = True
        self._renew()
        announce(self._file, self.stream, self.demuxer, target, until)
        with decoder_errors("Seeking failed", VideoErrorKind.corrupt):
            self.container.seek(target, stream=self.stream, backward=True)
        self._decoder.restart()
        return self._checked(whole=False)

    def began_with(self, frame: VideoFrame) -> bool:
        """True where the first frame since the last seek is a key frame."""
        return self._decoder.starts_with(frame)

    def after_jump(self, place: Place, until: int) -> Iterator[Timed]:
        """Frames from a key frame on that `place_of` has told of. Raises Unproven, here or with the first of them."""
        self._renew()
        announce(self._file, self.stream, self.demuxer, place.stamp, until)
        with decoder_errors("Seeking failed", VideoErrorKind.corrupt):
            if self.demuxer == "avi":  # counts from where its index says, not from where it stands
                self.container.seek(place.stamp, stream=self.stream)
            else:
                self.container.seek(place.pos, stream=self.stream, unsupported_byte_offset=True)
        self._decoder.restart()
        return self._checked(whole=False, place=place)

    def place_of(self, pts: int, frame: VideoFrame) -> Place | None:
        """The place of a frame of a walk, shown at a time, where it is a key frame that a jump can aim at."""
        key = frame.key_frame or self._decoder.leaves_out_keys
        alone = self._slots is not None or frame.pts == pts  # else its time follows from what lies before
        return marked_place(pts, frame) if key and alone else None

    @property
    def start(self) -> int:
        """The time of the first frame, as the header says it."""
        return self.stream.start_time or 0

    def _renew(self) -> None:
        """Before a seek: replace a spoilt decoder by one that has seen what each of the file has, its first frame."""
        self._fresh = None
        if self._spoilt:
            self.container.close()
            self._open()
            next(self._checked(), None)

    def _restart(self) -> None:
        """Stand at the first packet again."""
        if self.demuxer == "mov" and self.index.shown is not None and len(self.stream.index_entries):
            self._renew()
            with decoder_errors("Seeking failed", VideoErrorKind.corrupt):
                self.container.seek(self.stream.index_entries[0].timestamp, stream=self.stream, backward=True)
            self._decoder.restart()
        else:  # a seek to the start may miss the first frames where no index names them
            self.container.close()
            self._open()

    def _checked(self, whole: bool = True, place: Place | None = None) -> Iterator[Timed]:
        """Frames to the end; raises there where the file is cut, or `whole` and fewer than the index names."""
        count = 0
        try:
            for count, timed in enumerate(self._ordered(self._decoded(place), place is not None), start=1):  # noqa: B007
                yield timed
        except VideoError:
            self._spoilt = True
            raise
        if self.cut:
            total = f" of {self.index.shown}" if self.index.shown is not None else ""
            after = f", after {count}{total} frames" if whole else ""
            raise VideoError(VideoErrorKind.truncated, f"The file ends early{after}.")
        if whole and count < (self.index.shown or 0):
            message = f"The index names {self.index.shown} frames, {count} can be decoded."
            raise VideoError(VideoErrorKind.count_mismatch, message)

    def _decoded(self, place: Place | None) -> Iterator[VideoFrame]:
        """Frames as the decoder gives them, from a place that was jumped to; ends where the file is cut."""
        self.draining = False
        self.cut = self._cut_by_header
        self._slots = Slots(place.pts if place else None) if self.demuxer == "avi" else None
        packets = whole_packets(self.container.demux(self.stream), self.demuxer)
        if place is not None:
            with self._typed_errors():
                packets = packets_from(packets, place, self.demuxer)
        packets = own_times(packets, self._step) if self.demuxer == "mpeg" else packets
        frames = self._frames_of(packets, jumped=place is not None)
        yield from frames if place is None else frames_from(frames, place)

    def _frames_of(self, packets: Iterator[Packet], jumped: bool) -> Iterator[VideoFrame]:
        marks = Marks(self.stream, self.demuxer, self.index.shown is not None, self._configuration)
        fruitless = 0
        while not self.draining:
            with self._typed_errors():
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.has_sidedata("encryption_info"):
                    raise VideoError(VideoErrorKind.encrypted, "The video stream is encrypted.", 0)
                marks.put(packet, jumped)
                self.draining = not packet.size or self._cut_inside(self.sums.check(packet))
                frames = self._decoder.decode(None if self.draining else packet)
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

    def _ordered(self, frames: Iterator[VideoFrame], jumped: bool) -> Iterator[Timed]:
        """Frames with strictly increasing timestamps and one size. Raises VideoError, and Unproven if `jumped`."""
        last: int | None = None
        steps: deque[int] = deque(maxlen=_USUAL_STEPS)
        for frame in frames:
            pts = self._timestamp(frame, last)
            if jumped and self.draining and self.cut and len(steps) < _USUAL_STEPS:
                raise Unproven  # the usual distance by which a walk judges these may be another one
            if self.draining and self.cut and steps and last is not None and 2 * (pts - last) > 3 * median(steps):
                return  # the frames shown in between were lost with the end of the file: the good prefix ends here
            if frame.is_corrupt:
                raise VideoError(
                    VideoErrorKind.corrupt, f"The frame at {float(pts * self.time_base):.3f} s is damaged."
                )
            self._size = self._size or (frame.width, frame.height)
            if (frame.width, frame.height) != self._size:
                change = f"from {self._size[0]}x{self._size[1]} to {frame.width}x{frame.height}"
                raise VideoError(VideoErrorKind.resolution_change, f"The picture's size changes {change}.")
            if last is not None and pts < last:
                raise VideoError(VideoErrorKind.corrupt, f"Timestamps go backwards, from {last} to {pts}.")
            if last is None or pts > last:  # a second frame at the same instant is never seen
                steps.extend([] if last is None else [pts - last])
                yield pts, frame
            last = pts

    def _timestamp(self, frame: VideoFrame, last: int | None) -> int:
        """The frame's presentation time; where the container leaves it out, the place it has in the stream's rate."""
        slot = self._slots.take() if self._slots is not None else None
        if slot is not None:
            return slot
        if last is None:
            return self.start if frame.pts is None else int(frame.pts)
        if frame.pts is None or self.demuxer == "mpeg":
            return continued_time(frame.pts, last, self._step)
        return int(frame.pts)

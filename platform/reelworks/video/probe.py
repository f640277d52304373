"""What a file says about itself before it is decoded."""

from dataclasses import dataclass, replace
from fractions import Fraction

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.container import STILL_DEMUXERS
from reelworks.video.fast import choose_decoder
from reelworks.video.frames import Picture, displayed_size
from reelworks.video.index import duration_of, is_covered
from reelworks.video.stream import FrameStream
from reelworks.video.turned import aspect_in_parameters


@dataclass(frozen=True)
class Probe:
    """The header of one source; sizes as seen, times as the container counts them."""

    container: str
    """FFmpeg's name of the only demuxer that was tried."""
    codec: str
    width: int
    """Pixels as seen: after rotation, with square pixels."""
    height: int
    """Pixels as seen."""
    stored_width: int
    stored_height: int
    rotation: int
    """Degrees counterclockwise from the stored picture to the one seen: 0, 90, 180 or 270."""
    mirrored: bool
    """True where the stored picture is first mirrored left to right."""
    pixel_aspect: Fraction
    """Width of a stored pixel over its height."""
    fps: float
    """Mean frames a second; 0 where unknown, as for a still image."""
    num_frames: int | None
    """Frames that are shown; None where no index tells (MKV, TS, PS, FLV, fragmented MP4)."""
    duration_s: float | None
    """None where nothing tells, or only a remote file's fragments do, each of which would cost a request."""
    start_s: float
    """Presentation time of the first frame, as the header says."""
    time_base: Fraction
    """Seconds of one unit of the timestamps."""
    variable_frame_rate: bool | None
    """None where no index tells."""
    edit_list_hides: int
    """Stored frames that an edit list hides."""
    leading_undecodable: int
    """Stored frames before the first key frame."""
    frames_present: int | None
    """Frames whose bytes are inside the file; less than `num_frames` in a truncated file."""
    decoder: str
    """`decord` or `pyav`: which one decodes spans and the whole, in a child that has both."""
    decoder_reason: str
    """Why this decoder, in one phrase."""

    @property
    def is_still(self) -> bool:
        return self.container in STILL_DEMUXERS

    @property
    def truncated(self) -> bool:
        return self.num_frames is not None and self.frames_present is not None and self.frames_present < self.num_frames


def describe(source: FrameStream, first: Picture) -> Probe:
    """Put header, index and first picture together, which has the rotation and the true pixel size."""
    stream, index = source.stream, source.index
    orientation = first.orientation
    # What the container says goes before the codec's own, as in players.
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if aspect is None and source.is_partial():  # FFmpeg looks at the codec's own with the first frame
        aspect = aspect_in_parameters(stream)
    aspect = aspect or Fraction(1)
    height, width = displayed_size(first.width, first.height, aspect, orientation)
    still = source.demuxer in STILL_DEMUXERS
    start = first.pts if stream.start_time is None else stream.start_time  # FFmpeg may not have seen enough to name it
    timeless = source.demuxer == "mov" and index.shown is None and source.is_partial() and is_covered(stream)
    probe = Probe(
        container=source.demuxer,
        codec=stream.codec_context.codec.canonical_name,
        width=width,
        height=height,
        stored_width=first.width,
        stored_height=first.height,
        rotation=90 * orientation.quarter_turns,
        mirrored=orientation.mirrored,
        pixel_aspect=aspect,
        fps=0.0 if still else float(source.rate()),
        num_frames=index.shown,
        duration_s=None if still or timeless else duration_of(source.container, stream),
        start_s=float((start or 0) * source.time_base),
        time_base=source.time_base,
        variable_frame_rate=index.uneven,
        edit_list_hides=index.hidden,
        leading_undecodable=index.leading,
        frames_present=index.present,
        decoder="pyav",
        decoder_reason="",
    )
    decoder, reason = choose_decoder(probe, source, first.colorspace, source.limits.whole_object_bytes)
    return replace(probe, decoder=decoder, decoder_reason=reason)


def hold_to(told: Probe, seen: Probe) -> None:
    """Refuse a file whose header said otherwise than its first frame: a caller has gone by it. Raises VideoError."""
    for name in ("width", "height", "rotation", "mirrored", "pixel_aspect"):
        header, frame = getattr(told, name), getattr(seen, name)
        if header != frame:
            raise VideoError(VideoErrorKind.corrupt, f"The header says {name} {header}, the first frame {frame}.", 0)

"""decord, for the files on which it was measured to be right and faster, checked against the container's own times.

CPU time of decord 0.6.0 over PyAV 18 (FFmpeg 8), whole file in memory, one thread, medians over five runs (the pixels
were equal in all): HEVC 64x64 0.90, VP9 64x64 0.79; from 64x128 on both 1.03 to 1.28; H.264 1.00 to 1.16 and VP8 0.95
to 1.19 at every size. decord's frame server costs more than it saves once a frame has more than some 5,000 pixels.

Its FFmpeg is of 2018 and conceals damage without a word to us: of 47 damaged files that it showed wrong, 27 of HEVC and
43 of VP9 came without any error. So it gets only files whose checksums have told that they are whole.
"""

import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from reelworks.video.frames import Collector

if TYPE_CHECKING:
    from reelworks.video.probe import Probe
    from reelworks.video.stream import FrameStream

FASTER_CODECS = frozenset(("hevc", "vp9"))
FASTER_PIXELS = 72 * 72
SAFE_CONTAINERS = frozenset(("mov", "matroska"))
"""Of the containers in which decord 0.6.0 gives the right frames, those that were measured."""

SAFE_WIDTH_MULTIPLE_PX = 64
"""decord refuses rows that FFmpeg pads; rows of RGB of such a width never are."""

_BT601 = (2, 5, 6)
"""Matrix coefficients (ITU-T H.273) that decord's and PyAV's scalers treat alike: unspecified, BT.601."""

_BATCH_FRAMES = 64


def choose_decoder(probe: "Probe", stream: "FrameStream", colorspace: int, limit_bytes: int) -> tuple[str, str]:
    """(`decord` or `pyav`, the reason in one phrase) from header and first frame."""
    pixel_format = stream.stream.codec_context.pix_fmt
    unsafe = {
        "container": probe.container not in SAFE_CONTAINERS,
        "no complete index": probe.container == "mov" and probe.num_frames is None,
        "edit list hides frames": probe.edit_list_hides > 0,
        "starts without a key frame": probe.leading_undecodable > 0,
        "truncated": stream.cut,
        "turned or mirrored": probe.rotation != 0 or probe.mirrored,
        "pixels are not square": probe.pixel_aspect != 1,
        "width": probe.stored_width % SAFE_WIDTH_MULTIPLE_PX != 0,
        "larger than what is fetched whole": stream.file_bytes > limit_bytes,
        f"pyav is faster for {probe.codec}": probe.codec not in FASTER_CODECS,
        "pyav is faster at this size": probe.stored_width * probe.stored_height > FASTER_PIXELS,
        # Behind the size: a first frame too large to be fetched for a probe doesn't tell it.
        "pixel format": pixel_format != "yuv420p" or colorspace not in _BT601,
        "damage would go unseen": not stream.sums.carried,
    }
    reason = next((name for name, holds in unsafe.items() if holds), None)
    return ("pyav", reason) if reason else ("decord", "safe and faster for small frames of this codec")


def decode_with_decord(
    file: BinaryIO, stream: "FrameStream", span_s: tuple[float, float] | None, out: Collector
) -> str | None:
    """Fill `out` with the frames of a span or all; or the reason for which decord's answer can't be trusted.

    The times come from the packets. decord has to name as many frames at the same distances from the first one.
    """
    import decord

    known = stream.packet_times()
    times = sorted(time for time in known if time is not None)
    if not times or len(times) < len(known):
        return "packets without times"
    file.seek(0)
    try:
        reader = decord.VideoReader(io.BytesIO(file.read()), num_threads=1, fault_tol=1)
        count = len(reader)
        if count != len(times):
            return f"decord counts {count} frames, the container {len(times)}"
        starts_s = reader.get_frame_timestamp(np.arange(count))[:, 0]
        base = stream.time_base
        expected_s = (np.array(times) - times[0]) * base.numerator / base.denominator
        if np.abs(starts_s - starts_s[0] - expected_s).max() > float(base) / 2 + 1e-4:
            return "decord's times differ from the container's"
        wanted = [at for at, pts in enumerate(times) if _inside(pts * base.numerator / base.denominator, span_s)]
        for first in range(0, len(wanted), _BATCH_FRAMES):
            chosen = wanted[first : first + _BATCH_FRAMES]
            for at, picture in zip(chosen, reader.get_batch(chosen).asnumpy(), strict=True):
                np.copyto(out.slot(times[at]), picture)
    except (decord.DECORDError, decord.DECORDLimitReachedError) as error:
        return f"decord failed: {str(error).splitlines()[0][:80]}"
    return None


def _inside(time_s: float, span_s: tuple[float, float] | None) -> bool:
    return span_s is None or span_s[0] <= time_s < span_s[1]

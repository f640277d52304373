"""A container opened by exactly one demuxer, and the video stream in it that counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import av
import av.error
from av.container import Flags, InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.extent import boxes_run_out

CODECS = frozenset(
    "h264 hevc av1 vp8 vp9 mpeg1video mpeg2video mpeg4 msmpeg4v2 msmpeg4v3 h263 flv1 prores dnxhd mjpeg "
    "ffv1 rawvideo gif png apng webp bmp tiff".split()
)
"""Codecs that are decoded; a closed list keeps rarely tested decoders away from hostile bytes."""

STILL_DEMUXERS = frozenset(("jpeg_pipe", "png_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe"))

_READ_BYTES = 64 * 1024
"""Size of one read: an S3 file behind it reads ahead itself, and small files come in one call."""


def open_stream(file: BinaryIO, demuxer: str, file_bytes: int) -> tuple[InputContainer, VideoStream]:
    """A file's container, standing at its first packet, and the stream that counts. Raises VideoError."""
    file.seek(0)
    try:
        container = open_container(file, demuxer)
        stream = choose_stream(container)
    except VideoError as error:
        header = error.kind in (VideoErrorKind.corrupt, VideoErrorKind.no_video_stream)
        if header and demuxer == "mov" and boxes_run_out(file, file_bytes):
            raise VideoError(VideoErrorKind.truncated, "The file ends before its index (moov).", 0) from error
        raise
    if demuxer == "mpeg":  # times that FFmpeg makes up are as wrong as those that it starts from
        container.flags |= cast(int, Flags.no_fillin.value)
        with decoder_errors("Seeking failed", VideoErrorKind.corrupt):
            container.seek(0, stream=stream, unsupported_byte_offset=True)
    return container, stream


def open_container(file: BinaryIO, demuxer: str) -> InputContainer:
    """Open `file` with the named demuxer and no other, without any protocol that could reach a second file.

    Raises VideoError; errors of the file object itself (StorageError, OSError) pass through.
    """
    options = {"protocol_whitelist": "none", "format_whitelist": demuxer, "enable_drefs": "0"}
    if demuxer == "mov":
        # FFmpeg's own repair of edit lists gives the times that a player shows; said here, since all times rest on it.
        options |= {"ignore_editlist": "0", "advanced_editlist": "1"}
    if demuxer == "matroska":  # twenty frames, to tell the rate; see reelworks.video.tracks
        options |= {"fpsprobesize": "0"}
    with decoder_errors("The header can't be read", VideoErrorKind.corrupt):
        return av.open(file, mode="r", format=demuxer, options=options, buffer_size=_READ_BYTES)


def choose_stream(container: InputContainer) -> VideoStream:
    """The default-flagged video stream, else the first one; never a cover picture. Raises VideoError."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        others = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise VideoError(VideoErrorKind.no_video_stream, f"The file has no video stream, only: {others}.")
    stream = next((s for s in streams if s.disposition & Disposition.default), streams[0])
    if stream.codec_context is None:
        raise VideoError(VideoErrorKind.unsupported_codec, "The video stream has a codec without a decoder.")
    codec = stream.codec_context.codec.canonical_name
    if stream.codec_context.codec_tag in ("encv", "drmi") or "enc_key_id" in stream.metadata:
        raise VideoError(VideoErrorKind.encrypted, "The video stream is encrypted.")
    if codec not in CODECS:
        raise VideoError(VideoErrorKind.unsupported_codec, f"The codec {codec} is not decoded here.")
    # One thread: the same bytes on every machine, and no pool to start for a clip of two seconds.
    stream.thread_count = 1
    stream.thread_type = "NONE"
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return stream


@contextmanager
def decoder_errors(what: str, kind: VideoErrorKind, good_frames: int | None = None) -> Iterator[None]:
    """Turn what FFmpeg says about the content into VideoError(kind); other exceptions pass."""
    try:
        yield
    except MemoryError as error:
        raise VideoError(VideoErrorKind.oversize, f"{what}: out of memory.", good_frames) from error
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise VideoError(kind, f"{what}: {reason}.", good_frames) from error

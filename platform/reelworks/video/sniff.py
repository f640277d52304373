"""From the first bytes of a file to the one demuxer that may open it.

FFmpeg's own probing would open an `ffconcat` list, a playlist or an SDP file, and these open other files and hosts. So
the format is decided here, from magic bytes, and forced; whatever has no such magic is no video.
"""

from reelworks.errors import VideoError, VideoErrorKind

HEAD_BYTES = 4096
"""Bytes needed for a decision: 21 TS packets, the first boxes of an MP4."""

_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_ISO_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx", b"uuid"}
_PREFIXES = (
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"FLV\x01", "flv"),
    (b"DKIF", "ivf"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\xff\xd8\xff", "jpeg_pipe"),
    (b"BM", "bmp_pipe"),
    (b"II*\x00", "tiff_pipe"),
    (b"MM\x00*", "tiff_pipe"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
)
_NAMED = (
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an ASF/WMV file"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a list of other files (ffconcat)"),
)


def sniff(head: bytes) -> str:
    """Name the demuxer for a file that starts with `head`. Raises VideoError `empty` or `not_video`."""
    if not head:
        raise VideoError(VideoErrorKind.empty, "The file has no bytes.")
    for prefix, demuxer in _PREFIXES:
        if head.startswith(prefix):
            return demuxer
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "apng" if b"acTL" in head else "png_pipe"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp_pipe"
    if head[4:8] in _ISO_BOXES:
        return "mov"
    if _is_transport_stream(head):
        return "mpegts"
    raise VideoError(VideoErrorKind.not_video, f"The file is {_describe(head)}, not a video of a supported container.")


def _is_transport_stream(head: bytes) -> bool:
    """True where the sync byte stands at the start of every packet in `head` (at least one, at most 21)."""
    for packet_bytes, offset in _TS_PACKETS:
        starts = range(offset, len(head), packet_bytes)
        if len(head) >= packet_bytes and all(head[at] == 0x47 for at in starts):
            return True
    return False


def _describe(head: bytes) -> str:
    for prefix, name in _NAMED:
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(prefix):
            return name
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"<?xml") or start.startswith(b"<error"):
        return "an XML document"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 or byte >= 128 for byte in head[:512]):
        return "text"
    return f"data of an unknown kind (it starts with {head[:8].hex(' ')})"

"""What the header of a Matroska file says of its tracks (RFC 9559, section 5.1.4)."""

from collections.abc import Iterator

from reelworks.video.checksums import length_of, size_of_element

_TRACKS, _ENTRY = b"\x16\x54\xae\x6b", b"\xae"
_TYPE, _VIDEO = b"\x83", 1
_DEFAULT_DURATION = b"\x23\xe3\x83"


def states_rates(head: bytes) -> bool:
    """Whether each video track has the duration of its frames; False where the tracks aren't in the first bytes."""
    at = head.rfind(_TRACKS)  # a table of contents in front of them names them, too
    if at < 0:
        return False
    tracks = next((content for _, content in _elements(head[at:])), b"")
    entries = [dict(_elements(content)) for name, content in _elements(tracks) if name == _ENTRY]
    videos = [entry for entry in entries if int.from_bytes(entry.get(_TYPE, b""), "big") == _VIDEO]
    return bool(videos) and all(_DEFAULT_DURATION in video for video in videos)


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(id, content) of one element after the other, as far as they are whole."""
    while (size := size_of_element(data)) is not None and sum(size) <= len(data):
        yield data[: length_of(data[0])], data[size[0] : sum(size)]
        data = data[sum(size) :]

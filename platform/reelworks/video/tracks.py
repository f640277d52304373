"""What the header of a Matroska file says of its tracks (RFC 9559, section 5.1.4)."""

from reelworks.video.ebml import DEFAULT_DURATION, TRACK_ENTRY, TRACK_TYPE, TRACKS, Element, elements_in

_VIDEO = 1


def states_rates(head: bytes) -> bool:
    """Whether each video track has the duration of its frames; False where the tracks aren't in the first bytes."""
    at = head.rfind(TRACKS)  # a table of contents in front of them names them, too
    tracks = next(elements_in(head, at, len(head)), None) if at >= 0 else None
    if tracks is None:
        return False
    entries = [one for one in elements_in(head, tracks.content, tracks.stop) if one.name == TRACK_ENTRY]
    told = [_contents(head, entry) for entry in entries]
    videos = [entry for entry in told if int.from_bytes(entry.get(TRACK_TYPE, b""), "big") == _VIDEO]
    return bool(videos) and all(DEFAULT_DURATION in video for video in videos)


def _contents(head: bytes, parent: Element) -> dict[bytes, bytes]:
    """Id -> content of what an element holds."""
    return {one.name: head[one.content : one.stop] for one in elements_in(head, parent.content, parent.stop)}

"""What FFmpeg says about damage nowhere but in its log.

Decoders conceal: a macroblock that can't be decoded is copied from its neighbours, and the frame looks like any other
to the caller. At the level of errors they say so, beside things that don't touch the pixels.
"""

from av import logging

Messages = list[tuple[int, str, str]]
"""(level, name of the part that speaks, text)."""

_HARMLESS = (
    "sei", "mmco: ", "number of reference frames", "missing picture in access unit", "no frame!", "metadata",
    "unknown obu", "itu-t t.35", "app fields", "app: ", "not implemented", "icc profile",
)  # fmt: skip
"""Parts of a decoder's errors that say nothing about pixels: side information, and what isn't there to be shown."""

_LOST_UNIT = "Skipping invalid undecodable NALU"
"""The one warning that means lost pixels: a unit with a header that none can have."""

_BROKEN_STRUCTURE = {
    "matroska,webm": ("EBML number", "exceeds containing master", "Invalid length", "Invalid track number"),
}
"""Errors after which a demuxer leaves out what it can't read and goes on."""


class Listening:
    """What FFmpeg logs in this thread meanwhile. One thread at a time may listen, as in a decoding child.

    Entered for every packet, so no generator: with small frames its few microseconds would show.
    """

    def __init__(self, level: int = logging.WARNING):
        self._level = level

    def __enter__(self) -> Messages:
        self._before = logging.get_level()
        logging.set_skip_repeated(False)  # or a second file's damage goes unheard
        logging.set_level(self._level)
        self._capture = logging.Capture()
        return self._capture.__enter__()

    def __exit__(self, *error: object) -> None:
        self._capture.__exit__(None, None, None)
        logging.set_level(self._before)


def about_pixels(messages: Messages, decoder: str) -> str | None:
    """The first message by which pixels that `decoder` gives may be wrong."""
    for level, name, text in messages:
        said = text.lower()
        harmless = any(part in said for part in _HARMLESS)
        if name == decoder and (_LOST_UNIT in text or (level <= logging.ERROR and not harmless)):
            return text.strip().rstrip(".")
    return None


def about_structure(messages: Messages) -> str | None:
    """The first message by which packets are lost."""
    for level, name, text in messages:
        if level <= logging.ERROR and any(part in text for part in _BROKEN_STRUCTURE.get(name, ())):
            return text.strip().rstrip(".")
    return None

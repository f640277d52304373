"""What a file must offer whose bytes cost requests."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Remote(Protocol):
    """A file whose bytes cost requests: told what will be read, it makes fewer and fetches less."""

    def expect(self, start: int, stop: int, keep: bool = False) -> None:
        """[start, stop) will be read in order; with `keep` again and again."""
        ...

    def read1(self, size: int | None = -1) -> bytes:
        """At most `size` bytes with at most one request."""
        ...

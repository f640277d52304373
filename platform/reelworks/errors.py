"""Every error that a person may see, by kind."""

from __future__ import annotations

from enum import StrEnum


class ReelworksError(Exception):
    """Parent of all our errors."""


class UserError(ReelworksError):
    """Something the user can put right: what is wrong, then what to do next."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.hint}" if self.hint else self.message


class StorageErrorKind(StrEnum):
    """Why the bucket refused; `storage` is everything that a later attempt may cure."""

    changed = "changed"
    not_found = "not_found"
    access_denied = "access_denied"
    storage = "storage"


class StorageError(ReelworksError):
    """The bucket refused or failed; never a statement about the content of a video."""

    def __init__(self, kind: StorageErrorKind, uri: str, message: str = ""):
        super().__init__(kind, uri, message)
        self.kind = kind
        self.uri = uri
        self.message = message

    def __str__(self) -> str:
        return f"{self.uri}: {self.kind.value}" + (f" ({self.message})" if self.message else "")


class VideoErrorKind(StrEnum):
    """Typed reasons for which a file ends in quarantine."""

    empty = "empty"
    not_video = "not_video"
    no_video_stream = "no_video_stream"
    unsupported_codec = "unsupported_codec"
    encrypted = "encrypted"
    truncated = "truncated"
    corrupt = "corrupt"
    count_mismatch = "count_mismatch"
    oversize = "oversize"
    timeout = "timeout"
    crashed = "crashed"
    resolution_change = "resolution_change"


class VideoError(ReelworksError):
    """A file that can't be used as video; crosses process boundaries by pickle."""

    def __init__(self, kind: VideoErrorKind, message: str, good_frames: int | None = None):
        super().__init__(kind, message, good_frames)  # all three in args: pickle rebuilds from args
        self.kind = kind
        self.message = message
        self.good_frames = good_frames

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.message}"


class ListingErrorKind(StrEnum):
    """Typed reasons for which a row of a manifest ends in quarantine."""

    malformed_row = "malformed_row"
    duplicate_row = "duplicate_row"
    missing_object = "missing_object"
    changed_object = "changed_object"


class ListingError(ReelworksError):
    """A manifest's row that names no object to read; the run goes on without it."""

    good_frames: int | None = None  # as VideoError has it: nothing was decoded

    def __init__(self, kind: ListingErrorKind, message: str):
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.message}"

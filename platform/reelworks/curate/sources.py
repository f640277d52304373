"""The listing of raw video, from prefixes and manifests, and how a source and its sidecar are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, cast

from reelworks import storage
from reelworks.curate.lookup import manifest_sources
from reelworks.curate.manifest import is_manifest
from reelworks.curate.pairing import Source, pair_sidecars
from reelworks.curate.seen import Seen
from reelworks.errors import ListingError, ListingErrorKind

Opened = bytes | BinaryIO
"""What `video` reads a source from."""

# Up to this size an object is fetched in one GET: below it the round trips of ranged reading cost more than the bytes.
WHOLE_OBJECT_BYTES = 16 << 20
PAGE = 1000
# A hundred thousand described shots; what is longer would only be held in memory.
MAX_SIDECAR_BYTES = 16 << 20


def list_sources(places: Sequence[str]) -> Iterator[Source]:
    """Every source under prefixes and in manifests, streamed page by page; an object that several hold appears once.

    A manifest's row goes before what a prefix says of the same object. Under a prefix JSON files are sidecars, never
    sources; folder markers and the manifests themselves are skipped; all else is a source, whatever its name says.
    Raises UserError for a manifest that can't be read.
    """
    manifests = sorted({place for place in places if is_manifest(place)})
    prefixes = {place for place in places if not is_manifest(place)}
    seen = Seen() if manifests else None
    for manifest in manifests:
        yield from manifest_sources(manifest, cast(Seen, seen))
    for prefix in sorted(p for p in prefixes if not any(p != q and p.startswith(q) for q in prefixes)):
        listed = pair_sidecars(found for found in storage.list_objects(prefix) if found.uri not in manifests)
        if seen is None:
            yield from listed
            continue
        while page := list(islice(listed, PAGE)):
            known = seen.has([source.uri for source in page])
            yield from (source for source, again in zip(page, known, strict=True) if not again)


def open_source(source: Source) -> Opened:
    """The source's bytes where it is small, else a seekable file over ranged GETs; both bound to the listed ETag.

    Raises StorageError (kind changed, when the object was overwritten since it was listed), and ListingError for a
    manifest's row that names nothing to open.
    """
    if source.problem:
        raise ListingError(ListingErrorKind(source.problem), source.problem_message)
    if source.size <= WHOLE_OBJECT_BYTES:
        return storage.get_bytes(source.uri, etag=source.etag)
    return cast(BinaryIO, storage.open_ranged(source.uri, etag=source.etag, size=source.size))


def version_of(opened: Opened) -> tuple[str, str] | None:
    """What names the bytes of a source that is read by range; None for one that is in memory."""
    return (opened.uri, opened.etag) if isinstance(opened, storage.RangedFile) else None


def read_sidecar(source: Source) -> list[dict[str, Any]]:
    """The shots that the sidecar describes, each with start_s and end_s; empty without a sidecar.

    Raises ValueError where the sidecar isn't JSON of that form, or longer than MAX_SIDECAR_BYTES; StorageError where it
    changed since it was listed.
    """
    if source.sidecar_uri is None:
        return []
    # Strangers wrote it: whatever it holds, it may cost its own caption and no worker.
    try:
        text = storage.get_bytes(source.sidecar_uri, start=0, length=MAX_SIDECAR_BYTES + 1, etag=source.sidecar_etag)
        if len(text) > MAX_SIDECAR_BYTES:
            raise ValueError(f"it has more than {MAX_SIDECAR_BYTES:,} bytes")
        shots = json.loads(text)["shots"]
        json.dumps(shots, ensure_ascii=False).encode()  # refuses half of a surrogate pair, which no table can hold
        return [dict(shot, start_s=float(shot["start_s"]), end_s=float(shot["end_s"])) for shot in shots]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{source.sidecar_uri} is no sidecar: {error!r:.200}") from error


def match_shot(
    shots: Sequence[dict[str, Any]], start_s: float, end_s: float, iou: float = 0.8
) -> dict[str, Any] | None:
    """The described shot whose span overlaps [start_s, end_s) best, if their intersection over union reaches iou."""
    best, best_iou = None, 0.0
    for shot in shots:
        intersection = min(end_s, shot["end_s"]) - max(start_s, shot["start_s"])
        union = max(end_s, shot["end_s"]) - min(start_s, shot["start_s"])
        if union > 0 and intersection / union > best_iou:
            best, best_iou = shot, intersection / union
    return best if best_iou >= iou else None

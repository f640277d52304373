"""From the rows of a manifest to sources: what the bucket has under each name, found with few requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from reelworks import storage
from reelworks.curate.manifest import Row, read_manifest_rows
from reelworks.curate.pairing import SIDECAR, Source, pair_sidecars, stem_of
from reelworks.curate.seen import Seen
from reelworks.errors import ListingErrorKind, StorageError, StorageErrorKind, UserError

# Folders are listed from this many names on; fewer are asked for one by one. A walk ends after a page without a hit.
NAMES_FOR_A_WALK = 4
PAGE = 1000
REQUESTS_AT_ONCE = 16


def manifest_sources(manifest: str, seen: Seen) -> Iterator[Source]:
    """A source for each row, in order, with ETag, size and sidecar as the bucket has them now; 1:1.

    A row that is malformed, names an object again, or one that is missing or another than the row says, is a source
    with a `problem`. Raises UserError for a manifest that can't be read, or whose objects may not be listed.
    """
    for rows in read_manifest_rows(manifest):
        good = [row for row in rows if not row.problem]
        first = [row for row, new in zip(good, seen.add([row.uri for row in good]), strict=True) if new]
        try:
            found = look_up([row.uri for row in first])
        except StorageError as error:
            if error.kind is not StorageErrorKind.access_denied:
                raise
            raise UserError(
                f"{manifest} names objects under {error.uri}, which these credentials may not list",
                "give the credentials s3:ListBucket there, or take the rows out",
            ) from error
        places = {row.address for row in first}
        for row in rows:
            yield source_of(row, row.address in places, found.get(row.uri))


def source_of(row: Row, first: bool, found: Source | None) -> Source:
    """The source of a row: what the bucket has, with the row's caption, or why it can't be used."""
    kinds = ListingErrorKind
    if row.problem:
        return _refused(row, kinds.malformed_row, row.address, f"{row.place} can't be used: {row.problem}")
    if not first:
        return _refused(row, kinds.duplicate_row, row.address, f"{row.place} names {row.uri} again")
    if found is None:
        return _refused(row, kinds.missing_object, row.uri, f"{row.place} names it, and there is no such object")
    if row.etag not in (None, found.etag) or row.size not in (None, found.size):
        said = f"etag {row.etag or found.etag} and {found.size if row.size is None else row.size} bytes"
        now = f"etag {found.etag} and {found.size} bytes"
        return _refused(row, kinds.changed_object, row.uri, f"{row.place} says {said}; the object has {now}")
    if row.caption is not None:
        return replace(found, sidecar_uri=None, sidecar_etag=None, caption=row.caption)
    return found


def _refused(row: Row, kind: ListingErrorKind, uri: str, message: str) -> Source:
    # The row's digest stands for the ETag: a corrected row, or the object's arrival, is another source.
    return Source(uri, row.digest, 0, problem=kind.value, problem_message=message)


def look_up(uris: Sequence[str]) -> dict[str, Source]:
    """The sources among distinct addresses, with their sidecars; what is absent is left out. Raises StorageError.

    A LIST answers for up to 1,000 names where a folder's names stand close together, else for one.
    """
    folders: dict[str, list[str]] = {}
    for uri in uris:
        folders.setdefault(uri.rpartition("/")[0] + "/", []).append(uri)
    found: dict[str, Source] = {}
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for walked in pool.map(_walk, folders, folders.values()):
            found.update(walked)
        alone = [uri for uri in uris if uri not in found]
        found.update((source.uri, source) for source in pool.map(_alone, alone) if source)
    return found


def _walk(folder: str, uris: Sequence[str]) -> dict[str, Source]:
    """The sources that one walk through a folder meets; not finding one here says nothing.

    Some servers (SeaweedFS) list a folder `a/` before `a.mp4`, and the walk is over before it comes to that.
    """
    if len(uris) < NAMES_FOR_A_WALK:
        return {}
    wanted = set(uris)
    try:
        listed = list(pair_sidecars(_near(folder, sorted({stem_of(uri) for uri in uris}))))
    except StorageError as error:
        if error.kind is not StorageErrorKind.not_found:
            raise
        return {}  # no such bucket
    return {source.uri: source for source in listed if source.uri in wanted}


def _near(folder: str, stems: Sequence[str]) -> Iterator[storage.ObjectInfo]:
    """Objects in a folder that begin with one of the stems, in the order of both, until a whole page does not."""
    index, passed = 0, 0
    # StartAfter is exclusive, and a name without an extension is its own stem.
    for found in storage.list_objects(folder, start_after=storage.split_uri(stems[0])[1][:-1] or None):
        while not found.uri.startswith(stems[index]) and stems[index] < found.uri:
            index += 1
            if index == len(stems):
                return
        passed = 0 if found.uri.startswith(stems[index]) else passed + 1
        if passed == PAGE:
            return
        if not passed:
            yield found


def _alone(uri: str) -> Source | None:
    stem = stem_of(uri)
    try:
        if stem == uri:  # without an extension it is the prefix of who knows how much
            near = [found for name in (uri, uri + SIDECAR) if (found := storage.head(name))]
        else:
            near = list(storage.list_objects(stem))
        return next((source for source in pair_sidecars(near) if source.uri == uri), None)
    except StorageError as error:
        if error.kind is not StorageErrorKind.not_found:
            raise
        return None  # no such bucket

"""Files that can't be used: one record each, with the reason, kept beside the data set.

`quarantine/<index fingerprint>/<source_id>` is the record, and the source is in quarantine exactly while it is there:
one object, so that no two writers can leave it half in. `retried/…/<source_id>/<attempts>` holds the records that
`reelworks quarantine retry` took away, so that the next record counts on from them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reelworks import storage
from reelworks.curate.chunk import Chunk, Failure
from reelworks.curate.plan import Plan
from reelworks.curate.snapshot import read_part
from reelworks.curate.tables import read_table
from reelworks.errors import ListingError, StorageError, StorageErrorKind, VideoError, VideoErrorKind
from reelworks.video import Limits

HELD, RETRIED = "quarantine", "retried"
# Lines that name single sources in the answer of `retry` and `purge`; `list` shows them all.
LINES_SHOWN = 20
REQUESTS_AT_ONCE = 8


@dataclass(frozen=True)
class Record:
    """One source in quarantine, under the settings of one index fingerprint."""

    root: str
    key: str  # below the root
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """<index fingerprint>/<source_id>"""
        return self.key.removeprefix(f"{HELD}/")

    def uri(self, folder: str) -> str:
        return f"{self.root}/{folder}/{self.place}"


@dataclass(frozen=True)
class Choice:
    """Which records a command is about; the default is all of them."""

    kinds: Sequence[str] = ()
    uri_prefix: str = ""

    def takes(self, record: Record) -> bool:
        kind, uri = record.fields["kind"], record.fields["uri"]
        return (not self.kinds or kind in self.kinds) and uri.startswith(self.uri_prefix)


def quarantine(plan: Plan, chunk: Chunk, stage: str, error: VideoError | ListingError) -> None:
    """End a source with a record of why; the first record of a source stands."""
    key = plan.quarantine_key(chunk.source.source_id)
    # What a file says about itself is said at once; a decoder that died or hung was given fresh ones.
    attempts = Limits().attempts if error.kind in (VideoErrorKind.timeout, VideoErrorKind.crashed) else 1
    record = {
        "uri": chunk.source.uri,
        "etag": chunk.source.etag,
        "source_id": chunk.source.source_id,
        "stage": stage,
        "kind": str(error.kind),
        "message": error.message,
        "good_frames": error.good_frames,
        "attempts": attempts + attempts_before(plan.uri(key.replace(HELD, RETRIED, 1))),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    stored = storage.create_once(plan.uri(key), json.dumps(record, sort_keys=True).encode())
    chunk.end("quarantined", failure_of(json.loads(stored.data)))


def attempts_before(history_uri: str) -> int:
    """How often a source had been tried when it was last taken out of quarantine to be tried again."""
    tried = [int(found.key.rpartition("/")[2]) for found in storage.list_objects(f"{history_uri}/")]
    return max(tried, default=0)


def failure_of(record: dict[str, Any]) -> Failure:
    """The part of a record that is the same in every run."""
    return Failure(record["stage"], record["kind"], record["message"], record["good_frames"])


def stored_failure(plan: Plan, source_id: str) -> Failure | None:
    """What the record of a source says; None where `retry` took it away after the listing saw it."""
    data = read_if_there(plan.uri(plan.quarantine_key(source_id)))
    return None if data is None else failure_of(json.loads(data))


def read_if_there(uri: str) -> bytes | None:
    """An object that a person may remove at any time: its bytes, None where it is gone."""
    try:
        return storage.get_bytes(uri)
    except StorageError as error:
        if error.kind is not StorageErrorKind.not_found:
            raise
        return None


def all_held(plan: Plan, part: dict[str, Any]) -> bool:
    """Whether every source of a snapshot's quarantine part still has its record; after a `retry` some lack it."""
    if not part["rows"]:
        return True
    table = read_table(read_part(plan.recipe.root, part), ["source_id"])
    held = storage.list_objects(plan.uri(plan.quarantine_key("")))
    return set(table["source_id"].to_pylist()) <= {found.key.rpartition("/")[2] for found in held}


def read_quarantine(root: str, choice: Choice | None = None) -> Iterator[Record]:
    """The chosen records under a data set's root, in the order of their keys."""
    root, chosen = root.rstrip("/"), choice or Choice()
    uris = (found.uri for found in storage.list_objects(f"{root}/{HELD}/"))
    for uri, data in _each(lambda uri: (uri, read_if_there(uri)), uris):
        if data is not None:
            record = Record(root, uri.removeprefix(f"{root}/"), json.loads(data))
            if chosen.takes(record):
                yield record


def list_quarantine(root: str, choice: Choice | None = None) -> str:
    """A table for a person: what is in quarantine and why."""
    records = list(read_quarantine(root, choice))
    lines = [f"{_summary(records)} in quarantine under {root}"]
    for record in records:
        fields = record.fields
        good = "" if fields["good_frames"] is None else f", {fields['good_frames']} good frames"
        about = f"{fields['stage']}, {_attempts(fields)}{good}, ETag {fields['etag']}, {fields['at']}"
        lines.append(f"{fields['kind']:18} {fields['uri']}  ({about})")
        lines.append(f"{'':18} {fields['message']}")
    return "\n".join(lines)


def retry(root: str, choice: Choice, dry_run: bool = False) -> str:
    """Take records away so that the next `prepare` tries their sources again; what was done, for a person."""
    records = list(read_quarantine(root, choice))
    if not dry_run:
        _all_of(_release, records)
    done = "would be tried again" if dry_run else "will be tried again by the next `reelworks run prepare`"
    return "\n".join([f"{_summary(records)} {done}", *_named(records)])


def _release(record: Record) -> None:
    """History first: a run that begins in between finds the record, or how often the source was tried."""
    history = f"{record.uri(RETRIED)}/{record.fields['attempts']}"
    storage.create_once(history, json.dumps(record.fields, sort_keys=True).encode())
    storage.delete(record.uri(HELD))


def purge(root: str, choice: Choice, everything: bool = False, dry_run: bool = False) -> str:
    """Forget records and how often their sources were tried: of sources that are gone (overwritten or deleted), or
    of all that were chosen; what was done, for a person. Raises UserError where a source's bucket can't be read."""
    records = list(read_quarantine(root, choice))
    if not everything:
        for bucket in sorted({storage.split_uri(record.fields["uri"])[0] for record in records}):
            # A wrong endpoint or key must not look like ten thousand deleted videos.
            storage.check_readable(f"s3://{bucket}")
        records = [record for record, gone in _each(lambda one: (one, _is_gone(one)), records) if gone]
    if not dry_run:
        _all_of(_forget, records)
    what = f"{_summary(records)} {'would be' if dry_run else 'were'} forgotten"
    rest = "" if everything else "; records of sources that are still there stay (--all forgets them too)"
    return "\n".join([what + rest, *_named(records)])


def _is_gone(record: Record) -> bool:
    found = storage.head(record.fields["uri"])
    return found is None or found.etag != record.fields["etag"]


def _forget(record: Record) -> None:
    storage.delete_prefix(f"{record.uri(RETRIED)}/")
    storage.delete(record.uri(HELD))


def _each(work: Callable[[Any], Any], items: Any) -> Iterator[Any]:
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        yield from pool.map(work, items)


def _all_of(work: Callable[[Record], None], records: list[Record]) -> None:
    for _ in _each(work, records):
        pass


def _summary(records: list[Record]) -> str:
    """`3 sources (corrupt 2, empty 1)`; a source that failed under several settings has several records."""
    sources = len({record.fields["source_id"] for record in records})
    more = f", {len(records)} records" if len(records) != sources else ""
    kinds = sorted(Counter(record.fields["kind"] for record in records).items())
    shown = f" ({', '.join(f'{kind} {count}' for kind, count in kinds)})" if kinds else ""
    return f"{sources} source{'' if sources == 1 else 's'}{more}{shown}"


def _named(records: list[Record]) -> Iterator[str]:
    for record in records[:LINES_SHOWN]:
        yield f"{record.fields['kind']:18} {record.fields['uri']}  ({_attempts(record.fields)} so far)"
    if len(records) > LINES_SHOWN:
        yield f"and {len(records) - LINES_SHOWN} more"


def _attempts(fields: dict[str, Any]) -> str:
    return f"{fields['attempts']} attempt{'' if fields['attempts'] == 1 else 's'}"

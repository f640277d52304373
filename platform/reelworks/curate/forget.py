"""`reelworks dataset forget`: removes what was found about one source, and names who still holds something of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow.compute as pc

from reelworks import schema, storage, tracking
from reelworks.curate.quarantine import Choice, read_quarantine
from reelworks.curate.reach import parse
from reelworks.curate.runs import live_runs
from reelworks.curate.snapshot import SnapshotRef, list_snapshots, read_manifest, read_tables
from reelworks.errors import UserError


def forget(root: str, uri: str, left_out: bool = False, delete: bool = False) -> str:
    """Remove every stage's results of a source, of each of its versions that is known; what was done, for a person.

    Without `delete` nothing is changed. Raises UserError where the object is still in its bucket, unless it is
    `left_out` of all recipes, and where nothing is known of it.
    """
    root = root.rstrip("/")
    bucket, key = storage.split_uri(uri)
    # A wrong endpoint or key must not look like a deleted video.
    storage.check_readable(f"s3://{bucket}")
    there = storage.head(uri)
    if there and not left_out:
        raise UserError(
            f"{uri} is still there, so the next `prepare` would take it in again",
            "delete it first, or say --left-out if no recipe lists it any more",
        )
    snapshots = holders(root, uri)
    versions = {source_id for found in snapshots.values() for source_id in found}
    records = (one.fields for one in read_quarantine(root, Choice(uri_prefix=uri)))
    versions |= {fields["source_id"] for fields in records if fields["uri"] == uri}
    versions |= {schema.source_id(bucket, key, there.etag)} if there else set()
    removed, size = _remove(root, versions, delete)
    if not snapshots and not removed:
        raise UserError(f"nothing under {root} is known of {uri}", "write its address as `prepare` listed it")
    return "\n".join(_said(root, uri, len(versions), removed, size, snapshots, delete))


def holders(root: str, uri: str) -> dict[SnapshotRef, set[str]]:
    """The snapshots whose tables name an address, each with the ids of the versions of it that they name."""
    found: dict[SnapshotRef, set[str]] = {}
    known: dict[str, set[str]] = {}  # key of a part -> ids: snapshots share most of theirs
    for name, number, _ in list_snapshots(root):
        ref, manifest = read_manifest(root, f"{name}@{number}")
        ids = set[str]()
        for part, column in _tables(manifest):
            if part["key"] not in known:
                (table,) = read_tables(root, [part], ("source_id", column))
                known[part["key"]] = set(table["source_id"].filter(pc.equal(table[column], uri)).to_pylist())
            ids |= known[part["key"]]
        if ids:
            found[ref] = ids
    return found


def _tables(manifest: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every part of a snapshot, with the name of the column that holds addresses."""
    yield from ((part, "source_uri") for part in [*manifest["parts"], *manifest.get("dropped", [])])
    yield manifest["quarantine"], "uri"


def _remove(root: str, versions: set[str], delete: bool) -> tuple[Counter[str], int]:
    """(stage -> objects of these sources, their bytes); with `delete` they are gone."""
    removed: Counter[str] = Counter()
    size = 0
    listed = storage.list_objects(f"{root}/")
    while page := list(islice(listed, storage.DELETED_AT_ONCE)):
        mine = [(found, parse(found.uri.removeprefix(f"{root}/"))) for found in page]
        goes = [(found, address) for found, address in mine if address and address.source_id in versions]
        removed.update(address.stage for _, address in goes)
        size += sum(found.size for found, _ in goes)
        if delete:
            storage.delete_keys(page[0].bucket, [found.key for found, _ in goes])
    return removed, size


def _said(
    root: str,
    uri: str,
    num_versions: int,
    removed: Counter[str],
    size: int,
    snapshots: Mapping[SnapshotRef, set[str]],
    delete: bool,
) -> Iterator[str]:
    stages = ", ".join(f"{stage} {count}" for stage, count in sorted(removed.items()))
    done = "were removed" if delete else "would be removed; --delete does it"
    versions = f"{num_versions} version{'' if num_versions == 1 else 's'}"
    yield f"{uri}, {versions}: {removed.total()} objects, {size / 1e6:.1f} MB, {done}"
    yield from [f"  {stages}"] if stages else []
    for run in live_runs(root, storage.clock_s(root)):
        yield f"a run that has not ended may write some of it again: {root}/{run.key}; forget it again afterwards"
    if not snapshots:
        yield "no snapshot names it"
        return
    yield f"snapshots can't be changed; these name it: {', '.join(f'{ref.name}@{ref.number}' for ref in snapshots)}"
    yield from _trained({ref.id for ref in snapshots})
    yield (
        "to finish: `reelworks run prepare` commits a snapshot without it, `reelworks dataset gc --keep 1 --delete` "
        "removes the older ones; until then `reelworks dataset verify` names the objects that they miss"
    )


def _trained(ids: set[str]) -> Iterator[str]:
    """Lines about the models and runs that were trained on the snapshots of these ids."""
    if not tracking.is_configured():
        yield "models that were trained on them can't be named: MLFLOW_TRACKING_URI is not set"
        return
    said = [one.said for one in tracking.trained_on_snapshots() if one.snapshot.rpartition("#")[2] in ids]
    yield from (f"trained on them: {one}" for one in said)
    if not said:
        yield "no run or model that MLflow knows was trained on them"

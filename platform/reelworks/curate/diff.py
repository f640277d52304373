"""`reelworks dataset diff`: what changed between two snapshots."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reelworks.curate.snapshot import SnapshotRef, read_manifest, read_tables
from reelworks.tracking import flat

Row = Mapping[str, Any]
Manifest = dict[str, Any]

CAPTIONS = ("caption_original", "caption_short", "caption_descriptive")
GEOMETRY = ("width", "height", "fps", "num_frames", "start_s", "end_s")
EXAMPLES = 10
# What of a manifest is neither a setting nor a count.
NO_SETTINGS = ("name", "number", "parent", "parts", "dropped", "quarantine", "counts", "sources_digest")


@dataclass(frozen=True)
class Difference:
    """Two snapshots compared; lists of addresses and examples are in order and complete only where they are short."""

    before: str
    after: str
    settings: list[tuple[str, Any, Any]]  # dotted name, before, after: models, fingerprints, what makes a clip
    counts: dict[str, tuple[int, int]]  # every count of the two manifests
    sources: dict[str, list[str]]  # what happened -> addresses
    clips: dict[str, int]  # added, removed, kept, and what of those kept is another now
    captions: list[tuple[str, str, str | None, str | None]]  # examples: clip id, which caption, before, after


def diff(root: str, before: SnapshotRef | str, after: SnapshotRef | str) -> Difference:
    """Compare two snapshots of one data set; work and memory follow the parts that differ, not the data set's size."""
    old_ref, old = read_manifest(root, before)
    new_ref, new = read_manifest(root, after)
    shared = {part["digest"] for part in old["parts"]} & {part["digest"] for part in new["parts"]}
    clips: Counter[str] = Counter()
    clips["kept"] = sum(part["rows"] for part in old["parts"] if part["digest"] in shared)
    examples: list[tuple[str, str, str | None, str | None]] = []
    seen: tuple[dict[str, str], dict[str, str]] = ({}, {})  # source id -> address, of sources with clips
    for first, second in merged(_rows(root, old, shared), _rows(root, new, shared)):
        for row, sources in zip((first, second), seen, strict=True):
            if row is not None:
                sources[row["source_id"]] = row["source_uri"]
        _compare(first, second, clips, examples)
    in_both = _sources_of(root, [part for part in old["parts"] if part["digest"] in shared])
    for sources in seen:
        sources.update(in_both)
    quarantined = [_quarantined(root, manifest) for manifest in (old, new)]
    return Difference(
        before=str(old_ref),
        after=str(new_ref),
        settings=changed_settings(old, new),
        counts={name: _both(name, old["counts"], new["counts"]) for name in {**old["counts"], **new["counts"]}},
        sources=moved_sources(*seen, *quarantined),
        clips=dict(clips),
        captions=examples,
    )


def merged(old: Iterable[Row], new: Iterable[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """Pairs of rows with one clip_id, None where a side lacks it; both sides are sorted by clip_id."""
    left, right = iter(old), iter(new)
    first, second = next(left, None), next(right, None)
    while first is not None or second is not None:
        if second is None or (first is not None and first["clip_id"] < second["clip_id"]):
            yield first, None
            first = next(left, None)
        elif first is None or second["clip_id"] < first["clip_id"]:
            yield None, second
            second = next(right, None)
        else:
            yield first, second
            first, second = next(left, None), next(right, None)


def _compare(first: Row | None, second: Row | None, clips: Counter[str], examples: list[Any]) -> None:
    """Count what happened to one clip."""
    if first is None or second is None:
        clips["added" if first is None else "removed"] += 1
        return
    clips["kept"] += 1
    for name in CAPTIONS:
        if first[name] != second[name]:
            clips[f"{name.removeprefix('caption_')} caption"] += 1
            if len(examples) < EXAMPLES:
                examples.append((second["clip_id"], name.removeprefix("caption_"), first[name], second[name]))
    clips["frames or size"] += any(first[name] != second[name] for name in GEOMETRY)
    clips["captioner's frames"] += first["frames_digest"] != second["frames_digest"]
    clips["scores"] += sorted(first["scores"]) != sorted(second["scores"])
    for kind, is_text in (("latents", False), ("text embeddings", True)):
        # By digest: bytes that were computed again and came out equal have not changed.
        made = [
            {tensor["name"]: tensor["digest"] for tensor in row["tensors"] if is_text == _is_text(tensor)}
            for row in (first, second)
        ]
        clips[kind] += made[0] != made[1]


def _is_text(tensor: Mapping[str, Any]) -> bool:
    return str(tensor["name"]).startswith("text.")


def moved_sources(
    old: Mapping[str, str], new: Mapping[str, str], old_bad: Mapping[str, str], new_bad: Mapping[str, str]
) -> dict[str, list[str]]:
    """What happened -> addresses, sorted; each argument is source id -> address: with clips, then in quarantine."""
    before, after = {**old, **old_bad}, {**new, **new_bad}
    gone = {source: uri for source, uri in before.items() if source not in after}
    come = {source: uri for source, uri in after.items() if source not in before}
    # The same address under another id is another object: it was overwritten.
    overwritten = set(gone.values()) & set(come.values())
    found = {
        "added": set(come.values()) - overwritten,
        "overwritten": overwritten,
        "gone, or left without a clip": set(gone.values()) - overwritten,
        "into quarantine": {uri for source, uri in new_bad.items() if source in old},
        "out of quarantine": {uri for source, uri in old_bad.items() if source in new},
    }
    return {what: sorted(uris) for what, uris in found.items()}


def changed_settings(old: Manifest, new: Manifest) -> list[tuple[str, Any, Any]]:
    """(dotted name, before, after) of all that differs in how two snapshots were made."""
    before, after = (flat({k: v for k, v in one.items() if k not in NO_SETTINGS}) for one in (old, new))
    names = sorted({**before, **after})
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _both(name: str, old: Mapping[str, int], new: Mapping[str, int]) -> tuple[int, int]:
    return old.get(name, 0), new.get(name, 0)


def _rows(root: str, manifest: Manifest, shared: set[str]) -> Iterator[Row]:
    """Rows in the order of clip_id, of the parts that only this snapshot has."""
    for table in read_tables(root, [part for part in manifest["parts"] if part["digest"] not in shared]):
        for batch in table.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()


def _sources_of(root: str, parts: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in read_tables(root, parts, ("source_id", "source_uri")):
        found.update(zip(table["source_id"].to_pylist(), table["source_uri"].to_pylist(), strict=True))
    return found


def _quarantined(root: str, manifest: Manifest) -> dict[str, str]:
    (table,) = read_tables(root, [manifest["quarantine"]], ("source_id", "uri"))
    return dict(zip(table["source_id"].to_pylist(), table["uri"].to_pylist(), strict=True))


def as_json(found: Difference) -> str:
    """For a program: the same names as the text has, with every address."""
    return json.dumps(asdict(found), indent=1)


def as_text(found: Difference, limit: int = EXAMPLES) -> str:
    """For a person: at most `limit` addresses of a kind and captions."""
    lines = [f"{found.before}", f"{found.after}"]
    if found.before == found.after:
        return f"{found.before}: one snapshot, nothing to compare"
    lines += ["settings and models:", *(f"  {n}: {_said(a)} -> {_said(b)}" for n, a, b in found.settings)]
    lines += [] if found.settings else ["  the same"]
    lines.append("counts:")
    lines += [f"  {name:28} {a:>10,} -> {b:>10,}  {b - a:+,}" for name, (a, b) in found.counts.items() if a != b]
    same = sum(a == b for a, b in found.counts.values())
    lines.append(f"  {same} of {len(found.counts)} counts are equal")
    lines.append("sources: " + ", ".join(f"{len(uris):,} {what}" for what, uris in found.sources.items()))
    for what, uris in found.sources.items():
        lines += [f"  {what}: {uri}" for uri in uris[:limit]]
        lines += [f"  {what}: {len(uris) - limit:,} more"] if len(uris) > limit else []
    clips = {name: found.clips.get(name, 0) for name in ("added", "removed", "kept")}
    lines.append("clips: " + ", ".join(f"{number:,} {what}" for what, number in clips.items()))
    changed = {what: number for what, number in found.clips.items() if what not in clips and number}
    lines += [f"  of those kept, {number:,} have other {what}" for what, number in changed.items()]
    for clip_id, which, before, after in found.captions[:limit]:
        lines += [f"  {clip_id} {which}:", f"    - {before}", f"    + {after}"]
    return "\n".join(lines)


def _said(value: Any) -> str:
    return "none" if value is None else str(value)

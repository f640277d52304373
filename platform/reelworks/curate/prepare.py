"""`prepare`: raw video in a bucket to a committed snapshot, exactly once."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reelworks.curate.chunk import Chunk
from reelworks.curate.commit import Spool, commit, snapshot_rows, write_dropped, write_parts, write_quarantine
from reelworks.curate.encode import final_std
from reelworks.curate.frames import BY_DECODER
from reelworks.curate.listing import listed_sources
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.progress import Progress, ticking
from reelworks.curate.quarantine import all_held
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.runs import announced
from reelworks.curate.selection import select
from reelworks.curate.snapshot import SnapshotRef, newest_number, read_manifest
from reelworks.errors import UserError
from reelworks.models.vae_kind import refuse_foreign

if TYPE_CHECKING:
    from reelworks.curate.board import Work
    from reelworks.tracking import Run


def prepare(recipe: PrepareRecipe, run: Run) -> dict[str, Any]:
    """Bring the snapshot up to date with what lies under the recipe's prefixes; the counts of the end table."""
    from reelworks.curate.board import new_board, read_board
    from reelworks.curate.pipeline import finished_chunks

    plan = make_plan(recipe)
    run.json({"models": dict(plan.models), "fingerprints": dict(plan.fingerprints)}, "prepare/plan.json")
    listed = listed_sources(recipe.sources)
    print(f"prepare: {listed.count} sources under {', '.join(recipe.sources)}", flush=True)
    if not listed.count:
        raise UserError(
            f"there are no objects under {', '.join(recipe.sources)}", "upload videos, or name other prefixes"
        )
    newest = newest_of(plan, listed.digest)
    if newest:
        ref, manifest = newest
        print(f"prepare: snapshot {ref.name}@{ref.number} holds exactly these sources and settings; nothing to do")
        return {**manifest["counts"], **work_counts({}), "snapshot": str(ref), "committed": 0}
    board = new_board()
    with announced(plan, run.id), tempfile.TemporaryDirectory(prefix="reelworks-") as folder:
        finished = finished_chunks(plan, board)
        return commit_chunks(plan, run, listed.count, finished, Path(folder), lambda: read_board(board))


def check_models(recipe: PrepareRecipe) -> None:
    """Every model that the recipe names is there, and the VAE is of the kind that can be encoded with.

    Raises UserError, before a cluster is touched; weights in a bucket are not fetched.
    """
    from reelworks.resolve import read_model_file

    source = make_plan(recipe).models["latents"]
    try:
        config = dict(json.loads(read_model_file(source, "config.json")))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"config.json of {source} can't be read: {error}", "copy or train the checkpoint again"
        ) from error
    refuse_foreign(config, source)


def newest_of(plan: Plan, sources_digest: str) -> tuple[SnapshotRef, dict[str, Any]] | None:
    """The newest snapshot of the recipe's name, if it was made from these sources by these stages."""
    number = newest_number(plan.recipe.root, plan.recipe.snapshot)
    if not number:
        return None
    ref, manifest = read_manifest(plan.recipe.root, f"{plan.recipe.snapshot}@{number}")
    wanted = {
        "sources_digest": sources_digest,
        "fingerprints": dict(plan.fingerprints),
        "filters": plan.recipe.filters.model_dump(mode="json"),
    }
    same = all(manifest.get(name) == value for name, value in wanted.items())
    # A source that `quarantine retry` released is tried again although nothing else has changed.
    return (ref, manifest) if same and all_held(plan, manifest["quarantine"]) else None


def commit_chunks(
    plan: Plan,
    run: Run,
    total_sources: int,
    finished: Iterable[list[Chunk]],
    folder: Path,
    stages: Callable[[], Mapping[str, Work]] = dict,
) -> dict[str, Any]:
    """Take in finished chunks as they come, then commit; `stages` says what each stage has done so far.

    Raises UserError where the latents are not final.
    """
    progress, spool = Progress(total_sources, plan.recipe.progress_s, run, stages), Spool(folder)
    failures: list[dict[str, Any]] = []
    with ticking(progress):
        for chunk in (chunk for chunks in finished for chunk in chunks):
            progress.add(chunk)
            spool.add(snapshot_rows(chunk, plan))
            if chunk.failure:
                failures.append(failure_row(chunk))
    check_output(plan, progress)
    return commit_run(plan, run, progress, spool, failures)


def commit_run(
    plan: Plan, run: Run, progress: Progress, spool: Spool, failures: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the parts and the manifest, log them, and draw; the counts of the end table."""
    from reelworks.curate.pictures import draw

    content = snapshot_content(plan, progress, spool, failures)
    ref, committed = commit(plan, content)
    run.json(content | {"snapshot": str(ref)}, "prepare/snapshot.json")
    results = {**content["counts"], **work_counts(progress.counts), "snapshot": str(ref), "committed": int(committed)}
    std = final_std(progress.counts)
    results |= {} if std is None else {"final_latents_std": std}
    results |= progress.traffic()
    return results | draw(plan, run, ref)


def snapshot_content(plan: Plan, progress: Progress, spool: Spool, failures: list[dict[str, Any]]) -> dict[str, Any]:
    """All of a manifest but its place in the chain: no times, no run ids, so that equal data is an equal snapshot."""
    chosen = select(spool.columns(), progress.left_out, plan.recipe.filters)
    if not chosen.num_kept:
        raise UserError(f"the filters drop all clips: {dict(chosen.reasons)}", "widen `filters` in the recipe")
    parts, counts = write_parts(plan, spool, chosen)
    kinds = Counter(progress.quarantined.values())
    return {
        "fingerprints": dict(plan.fingerprints),
        "models": dict(plan.models),
        "clips": plan.recipe.clips.model_dump(mode="json"),
        "filters": plan.recipe.filters.model_dump(mode="json"),
        "sources_digest": progress.sources.digest,
        "counts": {
            **progress.source_counts(),
            "shots": progress.shots,
            **counts,
            **{f"quarantined_{kind}": n for kind, n in kinds.items()},
        },
        "parts": parts,
        "dropped": write_dropped(plan, spool, chosen),
        "quarantine": write_quarantine(plan, failures),
    }


def failure_row(chunk: Chunk) -> dict[str, Any]:
    """A row of schema.QUARANTINE."""
    assert chunk.failure is not None
    source = chunk.source
    return {"uri": source.uri, "etag": source.etag, "source_id": source.source_id, **asdict(chunk.failure)}


def work_counts(counts: Mapping[str, float]) -> dict[str, int]:
    """What this run computed itself, rather than found stored; all zero in a rerun of a finished job."""
    names = ("decoded_sources", "decoded_frames", "scored_clips", "captioned_clips", "encoded_clips", "embedded_texts")
    work = {name: int(counts.get(name, 0)) for name in (*names, "nondeterministic", "bad_sidecars")}
    return work | {name: int(count) for name, count in sorted(counts.items()) if name.startswith(BY_DECODER)}


def check_output(plan: Plan, progress: Progress) -> None:
    """Refuse to commit nothing, or latents that the VAE's statistics don't normalise. Raises UserError."""
    if not progress.counts["clips_done"]:
        raise UserError(
            f"no source gave a clip: {progress.source_counts()}",
            f"`reelworks quarantine list --root {plan.recipe.root}` says why files can't be used",
        )
    std = final_std(progress.counts)
    low, high = plan.recipe.vae.std_range
    if std is not None and not low <= std <= high:
        raise UserError(
            f"the final latents have a standard deviation of {std:.3f}, expected {low} to {high}",
            "the VAE's statistics don't fit these videos: train or calibrate it on them, or widen vae.std_range",
        )

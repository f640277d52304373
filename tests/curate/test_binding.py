"""Captions and their frames: bound right whatever happens to the workers, and found by `verify` where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelworks import storage
from reelworks.curate.caption import captions_object
from reelworks.curate.clips import ClipSpec, clips_of_source
from reelworks.curate.shots import ShotSpec
from reelworks.curate.sources import list_sources
from reelworks.curate.tables import read_table
from reelworks.curate.verify import frame_problems
from reelworks.curate.verify_objects import Worked, caption_problems
from reelworks.models.processor_captioner import pictures_of
from reelworks.video.encode import encode_video
from tests.chaos import failpoints
from tests.curate.painted_captions import CHUNK_CLIPS, CLIPS, chunks, painted

ROOT = Path(__file__).parents[2]
RESULTS = 1000
SPEC = ClipSpec(shots=ShotSpec(detector="fixed", min_clip_s=0.1, max_clip_s=0.625))

# Where a worker dies, before or after its object was written, or has an answer lost.
POINTS = {
    f"worker-{when}-PutObject-captions-{n}": "kill" for n in (3, 40, 41, 90, 160, 230) for when in ("before", "after")
}
LOST = {10: "503", 20: "cut", 30: "lost", 60: "late"}
POINTS |= {f"worker-before-PutObject-captions-{n}": action for n, action in LOST.items()}


def digest_of(frames: np.ndarray) -> str:
    return pictures_of(frames, None, 4).digest


def test_ten_thousand_clips_get_their_own_captions_under_retries_kills_and_regrouped_batches(
    prefix: str, tmp_path: Path
) -> None:
    failpoints.arm(tmp_path, POINTS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.curate.painted_captions", prefix],
        env={**os.environ, failpoints.ARMED: str(tmp_path), "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"},
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not failpoints.disarm(tmp_path), "points that no worker reached"
    assert f"killed {list(POINTS.values()).count('kill')}" in done.stdout
    stored = [read_table(storage.get_bytes(one.uri)).to_pylist() for one in storage.list_objects(f"{prefix}/captions/")]
    assert len(stored) == CLIPS // CHUNK_CLIPS
    found = {row["clip_id"]: row for rows in stored for row in rows}
    ids = [row.clip_id for chunk in chunks() for row in chunk.rows]
    expected = {
        clip_id: {
            "clip_id": clip_id,
            "short": f"short {number}",
            "descriptive": f"descriptive {number}",
            "frames_digest": digest_of(painted(number)),
        }
        for number, clip_id in enumerate(ids)
    }
    assert found == expected and len(found) == CLIPS


@pytest.fixture(scope="module")
def results(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Rows of a thousand clips of one source, each with the captions and the digest of its own frames."""
    prefix = f"s3://raw/binding-{tmp_path_factory.mktemp('name').name}/"
    frames = np.concatenate([painted(3 * number) for number in range(RESULTS)]).repeat(2, 1).repeat(2, 2)
    assert frames.shape == (5 * RESULTS, 16, 16, 3)
    storage.create_once(f"{prefix}a.mkv", encode_video(frames, 8.0, "ffv1", "mkv", "bgr0"))
    found = []
    for row, clip in clips_of_source(next(iter(list_sources([prefix]))), SPEC):
        result = {"caption_short": f"short {len(found)}", "caption_descriptive": f"descriptive {len(found)}"}
        found.append({**row._asdict(), **result, "frames_digest": digest_of(clip), "captioner": "painted"})
    assert len(found) == RESULTS
    return found


def exchanged(rows: Sequence[dict[str, Any]], order: Sequence[int]) -> list[dict[str, Any]]:
    """Each row with the captioner's result of the row that the order names."""
    names = ("caption_short", "caption_descriptive", "frames_digest")
    return [{**row, **{name: rows[other][name] for name in names}} for row, other in zip(rows, order, strict=True)]


def swaps() -> list[list[int]]:
    """No swap, one pair at random, all in pairs at random, and everything moved on by one."""
    rng, straight = np.random.default_rng(0), list(range(RESULTS))
    pairs = rng.permutation(RESULTS).reshape(-1, 2).tolist()
    one, all_pairs = straight.copy(), straight.copy()
    one[pairs[0][0]], one[pairs[0][1]] = pairs[0][1], pairs[0][0]
    for first, second in pairs:
        all_pairs[first], all_pairs[second] = second, first
    return [straight, one, all_pairs, [*straight[1:], 0]]


def test_any_two_of_a_thousand_results_that_were_exchanged_are_found_by_their_frames(
    results: list[dict[str, Any]],
) -> None:
    # Whatever two are exchanged, both have another's digest: so it is found if no two are equal, and each is looked at.
    assert len({row["frames_digest"] for row in results}) == RESULTS
    for order in swaps():
        problems, _ = frame_problems(exchanged(results, order), SPEC, digest_of)
        wrong = [results[index]["clip_id"] for index, other in enumerate(order) if other != index]
        assert [problem.partition(":")[0] for problem in problems] == wrong


def test_any_two_of_a_thousand_results_that_were_exchanged_after_they_were_stored_are_found_by_the_stored_table(
    results: list[dict[str, Any]], prefix: str
) -> None:
    ids = [row["clip_id"] for row in results]
    texts = {name: [row[f"caption_{name}"] for row in results] for name in ("short", "descriptive")}
    chunk = Worked(results[0]["source_id"], 0, 1, ids, results)
    data = captions_object(ids, texts, [row["frames_digest"] for row in results])
    storage.create_once(f"{prefix}/captions/painted/{chunk.place(ids)}.parquet", data)
    places = {"captions": f"{prefix}/captions/painted/"}
    for order in swaps():
        problems = caption_problems(places, "painted", replace(chunk, rows=exchanged(results, order)))
        wrong = [ids[index] for index, other in enumerate(order) if other != index]
        assert [problem.partition(":")[0] for problem in problems] == wrong

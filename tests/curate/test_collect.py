"""reelworks.curate.collect, reach, runs: what a kept snapshot or a run at work needs is never removed, all else is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelworks import cli, storage, tracking
from reelworks.curate import runs
from reelworks.curate.collect import Collection, Rules, gc
from reelworks.curate.plan import make_plan
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.runs import announced, live_runs
from reelworks.curate.snapshot import manifest_uri, read_snapshot, resolve_snapshot
from reelworks.curate.verify import verify
from reelworks.errors import UserError
from reelworks.video.encode import encode_video
from tests.curate.conftest import commit_inline, recipe_for, run_stages
from tests.curate.test_stages import WORK, work

EVERY_AGE = Rules(older_than_s=0, delete=True)
NEWEST = Rules(older_than_s=0, keep=1, delete=True)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[tracking.Trained]:
    """What MLflow says was trained on snapshots: nothing yet."""
    found: list[tracking.Trained] = []
    monkeypatch.setattr(tracking, "is_configured", lambda: True)
    monkeypatch.setattr(tracking, "trained_on_snapshots", lambda: iter(found))
    return found


@pytest.fixture
def recipe(prefix: str, models: dict[str, str]) -> PrepareRecipe:
    """A bucket with a dark, a grey and a bright video, one too small for a clip, and one that is none."""
    for level in (30, 90, 200):
        storage.create_once(f"{prefix}/raw/{level}.mp4", encode_video(np.full((9, 32, 32, 3), level, np.uint8), 8.0))
    storage.create_once(
        f"{prefix}/raw/small.mkv", encode_video(np.full((9, 4, 32, 3), 9, np.uint8), 8.0, "ffv1", "mkv")
    )
    storage.create_once(f"{prefix}/raw/bad.mp4", b"no video " * 9)
    vae = {"source": models["vae"], "std_range": (0, 1e9)}
    return recipe_for(f"{prefix}/data", f"{prefix}/raw/", models, vae=vae)


def stricter(recipe: PrepareRecipe, **changes: Any) -> PrepareRecipe:
    """Without the dark video and without captions."""
    filters = {"luma": {"min": 60}}
    return recipe.model_validate(recipe.model_dump() | {"captioner": None, "filters": filters, **changes})


def keys(recipe: PrepareRecipe, *folders: str) -> list[str]:
    root = f"{recipe.root}/"
    found = [one.uri.removeprefix(root) for one in storage.list_objects(root)]
    return [key for key in found if not folders or key.startswith(folders)]


def test_a_kept_snapshot_keeps_all_it_stands_on_and_loses_only_its_ancestors(
    recipe: PrepareRecipe, untrained: list[tracking.Trained], tmp_path: Path
) -> None:
    root = recipe.root
    commit_inline(recipe, tmp_path / "one")
    commit_inline(stricter(recipe), tmp_path / "two")
    before = keys(recipe)
    assert gc(root, EVERY_AGE).startswith(f"kept under {root}: 2 of 2 snapshots\n0 objects")
    said = gc(root, Rules(older_than_s=0, keep=1))
    assert "world@1 go" in said and "--delete does it" in said and keys(recipe) == before
    assert gc(root, NEWEST).startswith(f"kept under {root}: 1 of 2 snapshots; world@1 go")
    assert keys(recipe, "captions/") == [] and len(keys(recipe, "latents/")) == 2
    assert "in a chain of 2 are right" in verify(root, "world@2")
    with pytest.raises(UserError, match="was removed by `dataset gc`"):
        read_snapshot(root, "world@1")
    # The dropped clip's scores, the source without clips and the one in quarantine are known as before.
    assert work(run_stages(make_plan(stricter(recipe)))) == dict.fromkeys(WORK, 0)
    assert "\n0 objects" in gc(root, NEWEST)
    commit_inline(recipe, tmp_path / "three")
    assert "in a chain of 3 are right" in verify(root, "world@3")


def test_results_of_no_snapshot_go_when_they_are_old_and_stay_while_they_are_young(
    recipe: PrepareRecipe, models: dict[str, str], tmp_path: Path
) -> None:
    commit_inline(recipe, tmp_path / "one")
    before = keys(recipe)
    run_stages(make_plan(stricter(recipe, vae={"source": models["other_vae"]})))
    assert len(keys(recipe)) > len(before)
    assert "stay: younger than --older-than" in gc(recipe.root, Rules(older_than_s=600, delete=True))
    assert len(keys(recipe)) > len(before)
    gc(recipe.root, EVERY_AGE)
    assert keys(recipe) == before


def test_results_of_a_deleted_source_go_with_the_snapshots_that_held_it(
    recipe: PrepareRecipe, untrained: list[tracking.Trained], tmp_path: Path
) -> None:
    commit_inline(recipe, tmp_path / "one")
    gone = next(row for row in read_snapshot(recipe.root, "world@1").clips.to_pylist() if "90.mp4" in row["source_uri"])
    storage.delete(gone["source_uri"])
    commit_inline(recipe, tmp_path / "two")
    gc(recipe.root, NEWEST)
    assert not [key for key in keys(recipe) if gone["source_id"] in key]
    assert "are right" in verify(recipe.root, "world@2")


def test_a_snapshot_that_trained_a_model_stays(
    recipe: PrepareRecipe, untrained: list[tracking.Trained], tmp_path: Path
) -> None:
    commit_inline(recipe, tmp_path / "one")
    commit_inline(stricter(recipe), tmp_path / "two")
    untrained.append(tracking.Trained(str(resolve_snapshot(recipe.root, "world@1")), "model m version 3"))
    before = keys(recipe)
    assert "world@1 stays, as it has trained model m version 3" in gc(recipe.root, NEWEST)
    assert keys(recipe) == before


def test_what_a_run_that_has_not_ended_may_take_over_stays(
    recipe: PrepareRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_inline(stricter(recipe), tmp_path / "one")
    plan = make_plan(recipe)
    run_stages(plan)
    before = keys(recipe)
    with announced(plan, "a"):
        assert "a run has not ended" in gc(recipe.root, EVERY_AGE)
        assert keys(recipe, *(key.partition("/")[0] for key in before)) == before
    assert keys(recipe, "runs/") == []
    with pytest.raises(ValueError), announced(plan, "b"):
        raise ValueError
    gc(recipe.root, EVERY_AGE)
    assert len(keys(recipe)) == len(before) + 1
    monkeypatch.setattr(runs, "DEAD_AFTER_S", 0)
    assert not list(live_runs(recipe.root, storage.clock_s(recipe.root)))
    gc(recipe.root, EVERY_AGE)
    assert len(keys(recipe)) < len(before) and keys(recipe, "runs/", "captions/") == []


def test_a_run_renews_its_record_until_it_ends_and_writes_it_again_where_it_was_taken_away(
    recipe: PrepareRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record() -> str | None:
        return next((one.etag for one in storage.list_objects(f"{recipe.root}/runs/")), None)

    def comes(what: Callable[[], bool]) -> bool:
        return any(what() or time.sleep(0.02) for _ in range(500))

    monkeypatch.setattr(runs, "RENEW_S", 0.02)
    with announced(make_plan(recipe), "a"):
        first = record()
        assert comes(lambda: record() not in (None, first))
        storage.delete_prefix(f"{recipe.root}/runs/")
        assert comes(lambda: record() is not None)
    assert record() is None


@pytest.mark.parametrize("key", ["runs/other/1", "snapshots/other/1.json"])
def test_a_run_that_begins_or_commits_meanwhile_ends_the_collection(
    recipe: PrepareRecipe, tmp_path: Path, key: str
) -> None:
    commit_inline(stricter(recipe), tmp_path / "one")
    run_stages(make_plan(recipe))
    before = keys(recipe)
    collection = Collection(recipe.root, EVERY_AGE)
    collection.choose = lambda: ([("world", 1)], [])  # type: ignore[method-assign]  # as seen before it came
    storage.create_once(f"{recipe.root}/{key}", b"{}")
    with pytest.raises(UserError, match="run `reelworks dataset gc` again"):
        collection.run()
    assert set(keys(recipe)) == {*before, key}


class Killed(BaseException):
    """As a SIGKILL: nothing after it runs."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """From now on the step-th change of the bucket doesn't come about."""
    steps = iter(range(step))

    def call(real: Callable[..., Any], *arguments: Any) -> Any:
        if next(steps, None) is None:
            raise Killed
        return real(*arguments)

    for name in ("create_once", "delete", "delete_keys"):
        monkeypatch.setattr(storage, name, partial(call, getattr(storage, name)))


def test_a_collection_that_is_killed_anywhere_harms_nothing_and_is_finished_by_the_next(
    recipe: PrepareRecipe, untrained: list[tracking.Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_inline(recipe, tmp_path / "one")
    commit_inline(stricter(recipe), tmp_path / "two")
    monkeypatch.setattr(storage, "DELETED_AT_ONCE", 4)
    kills = 0
    for step in (0, 1, 2, 1, 2, 3, 9):
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            try:
                gc(recipe.root, NEWEST)
            except Killed:
                kills += 1
        assert "are right" in verify(recipe.root, "world@2")
        if storage.head(manifest_uri(recipe.root, "world", 1)):
            assert "are right" in verify(recipe.root, "world@1")
    assert kills >= 4 and "\n0 objects" in gc(recipe.root, NEWEST)
    assert keys(recipe, "captions/") == []


def test_the_command_is_dry_by_default_and_refuses_what_it_can_not_know(
    recipe: PrepareRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_inline(stricter(recipe), tmp_path / "one")
    run_stages(make_plan(recipe))
    before, root = keys(recipe), ["--root", recipe.root]
    assert cli.main(["dataset", "gc", *root, "--older-than", "0"]) == 0
    assert "would be removed; --delete does it" in capsys.readouterr().out
    assert cli.main(["dataset", "gc", *root, "--delete"]) == 0  # younger than a week
    assert keys(recipe) == before
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert cli.main(["dataset", "gc", *root, "--keep", "1"]) == 2
    assert "which snapshots models were trained on" in capsys.readouterr().err
    assert cli.main(["dataset", "gc", *root, "--keep", "0"]) == 2
    assert cli.main(["dataset", "gc", *root, "--older-than", "0", "--delete"]) == 0
    assert len(keys(recipe)) < len(before)

"""reelworks.curate.forget: all that was found about one video goes, and who still holds something of it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelworks import cli, storage, tracking
from reelworks.curate.collect import gc
from reelworks.curate.forget import forget
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.snapshot import read_snapshot, resolve_snapshot
from reelworks.curate.verify import verify
from reelworks.errors import UserError
from tests.curate.conftest import commit_inline
from tests.curate.test_collect import NEWEST, keys, recipe, stricter, untrained

__all__ = ["recipe", "untrained"]  # fixtures


def test_a_forgotten_video_leaves_nothing_once_older_snapshots_are_collected(
    recipe: PrepareRecipe, untrained: list[tracking.Trained], tmp_path: Path
) -> None:
    root, uri = recipe.root, f"{recipe.sources[0]}90.mp4"
    commit_inline(recipe, tmp_path / "one")
    commit_inline(stricter(recipe), tmp_path / "two")
    (source,) = {
        one["source_id"] for one in read_snapshot(root, "world@1").clips.to_pylist() if one["source_uri"] == uri
    }
    mine = [key for key in keys(recipe) if source in key]
    untrained.append(tracking.Trained(str(resolve_snapshot(root, "world@2")), "model m version 3"))
    with pytest.raises(UserError, match="the next `prepare` would take it in again"):
        forget(root, uri, delete=True)
    storage.delete(uri)
    said = forget(root, uri)
    assert f"{uri}, 1 version: {len(mine)} objects" in said and "would be removed; --delete does it" in said
    assert "these name it: world@1, world@2" in said and "trained on them: model m version 3" in said
    assert "captions 1, index 1, latents 1, scores 1, text 1" in said
    assert len([key for key in keys(recipe) if source in key]) == len(mine)
    forget(root, uri, delete=True)
    assert not [key for key in keys(recipe) if source in key]
    with pytest.raises(UserError, match=f"damaged: .*{source}"):
        verify(root, "world@2")
    commit_inline(recipe, tmp_path / "three")
    untrained.clear()
    gc(root, NEWEST)
    assert "are right" in verify(root, "world@3")
    with pytest.raises(UserError, match="nothing under .* is known of"):
        forget(root, uri)


def test_a_video_that_stays_in_its_bucket_is_forgotten_when_it_is_said_to_be_left_out(
    recipe: PrepareRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    commit_inline(recipe, tmp_path / "one")
    before = keys(recipe)
    command = ["dataset", "forget", "--root", recipe.root, f"{recipe.sources[0]}bad.mp4"]
    assert cli.main(command) == 2 and "delete it first" in capsys.readouterr().err
    assert cli.main([*command, "--left-out"]) == 0
    assert "MLFLOW_TRACKING_URI is not set" in capsys.readouterr().out and keys(recipe) == before
    assert len(keys(recipe, "quarantine/")) == 1
    assert cli.main([*command, "--left-out", "--delete"]) == 0
    assert keys(recipe, "quarantine/") == []


def test_an_address_that_nobody_knows_is_refused(recipe: PrepareRecipe, tmp_path: Path) -> None:
    commit_inline(recipe, tmp_path / "one")
    with pytest.raises(UserError, match="nothing under .* is known of"):
        forget(recipe.root, f"{recipe.sources[0]}never.mp4", delete=True)
    with pytest.raises(UserError, match="no bucket"):
        forget(recipe.root, "s3://no-such-bucket/a.mp4", delete=True)

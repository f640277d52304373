"""reelworks.curate.quarantine: what is tried again, what is forgotten, and what stays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reelworks import cli, storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.index import index_source
from reelworks.curate.listing import StoredKeys, listed_sources
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.prepare import newest_of
from reelworks.curate.quarantine import Choice, list_quarantine, purge, quarantine, read_quarantine, retry
from reelworks.curate.sources import list_sources
from reelworks.errors import UserError, VideoError, VideoErrorKind
from reelworks.video.encode import encode_video
from tests.curate.conftest import commit_inline, recipe_for


@pytest.fixture
def poisoned(prefix: str, models: dict[str, str]) -> Plan:
    """A bucket with a good video, two that are none and an empty one; nothing is cut yet."""
    good = encode_video(np.full((9, 32, 32, 3), 90, np.uint8), 8.0)
    for name, data in {"good": good, "bad-1": b"no video " * 9, "bad-2": b"nor this " * 9, "empty": b""}.items():
        storage.create_once(f"{prefix}/raw/{name}.mp4", data)
    return make_plan(recipe_for(f"{prefix}/data", f"{prefix}/raw/", models, captioner=None))


def cut(plan: Plan) -> dict[str, Chunk]:
    """The index stage over all sources, as one run of `prepare` does it: file name -> first chunk."""
    stored = StoredKeys(plan)
    chunks = [Chunk(source, stored.of(source.source_id)) for source in list_sources(plan.recipe.sources)]
    return {chunk.source.uri.rpartition("/")[2]: index_source(chunk, plan)[0] for chunk in chunks}


def records(plan: Plan) -> dict[str, dict[str, Any]]:
    return {one.fields["uri"].rpartition("/")[2]: one.fields for one in read_quarantine(plan.recipe.root)}


def keys(plan: Plan, folder: str) -> list[str]:
    return [found.key for found in storage.list_objects(plan.uri(f"{folder}/"))]


def test_a_retried_file_is_tried_again_and_its_attempts_are_counted_on(poisoned: Plan) -> None:
    root = poisoned.recipe.root
    cut(poisoned)
    assert {name: one["attempts"] for name, one in records(poisoned).items()} == dict.fromkeys(
        ("bad-1.mp4", "bad-2.mp4", "empty.mp4"), 1
    )
    said = retry(root, Choice(["not_video"]))
    assert said.startswith("2 sources (not_video 2) will be tried again") and "bad-1.mp4  (1 attempt so far)" in said
    assert set(records(poisoned)) == {"empty.mp4"}
    for attempts in (2, 3):
        assert cut(poisoned)["bad-1.mp4"].state == "quarantined"
        assert [records(poisoned)[name]["attempts"] for name in ("bad-1.mp4", "empty.mp4")] == [attempts, 1]
        retry(root, Choice(["not_video"]))


def test_a_retried_file_that_can_be_read_now_enters_the_data_set(poisoned: Plan) -> None:
    (good,) = (one for one in list_sources(poisoned.recipe.sources) if one.uri.endswith("good.mp4"))
    # As a decoder that was killed three times leaves it.
    quarantine(poisoned, Chunk(good, []), "index", VideoError(VideoErrorKind.crashed, "died"))
    assert cut(poisoned)["good.mp4"].state == "quarantined"
    assert records(poisoned)["good.mp4"]["attempts"] == 3
    retry(poisoned.recipe.root, Choice(uri_prefix=good.uri))
    assert cut(poisoned)["good.mp4"].state == "clips"


def test_a_file_that_failed_after_its_index_keeps_the_index_when_it_is_retried(poisoned: Plan) -> None:
    chunk = cut(poisoned)["good.mp4"]
    before = keys(poisoned, "index")
    quarantine(poisoned, chunk, "decode", VideoError(VideoErrorKind.corrupt, "bad"))
    retry(poisoned.recipe.root, Choice(["corrupt"]))
    assert keys(poisoned, "index") == before
    assert cut(poisoned)["good.mp4"].state == "clips"


def test_a_finished_job_goes_on_after_a_retry_and_not_otherwise(
    poisoned: Plan, models: dict[str, str], tmp_path: Path
) -> None:
    recipe = poisoned.recipe
    done = commit_inline(recipe, tmp_path / "one")
    digest = listed_sources(recipe.sources).digest
    assert newest_of(poisoned, digest)
    retry(recipe.root, Choice(["empty"]))
    assert newest_of(poisoned, digest) is None
    # It fails as before: the content is the same, so nothing is committed.
    again = commit_inline(recipe, tmp_path / "two")
    assert (again["committed"], again["snapshot"]) == (0, done["snapshot"])
    assert newest_of(poisoned, digest)


def test_a_retry_while_a_run_has_listed_the_record_already_does_not_fail_the_run(poisoned: Plan) -> None:
    cut(poisoned)
    stored = StoredKeys(poisoned)
    (source,) = (one for one in list_sources(poisoned.recipe.sources) if one.uri.endswith("empty.mp4"))
    retry(poisoned.recipe.root, Choice())
    (chunk,) = index_source(Chunk(source, stored.of(source.source_id)), poisoned)
    assert (chunk.state, records(poisoned)["empty.mp4"]["attempts"]) == ("quarantined", 2)


@contextmanager
def called_before(step: int, meanwhile: Callable[[], object]) -> Iterator[None]:
    """Calls something once, before the step-th request to the bucket that the block makes; or after all of them."""
    steps, called = iter(range(step)), False
    with pytest.MonkeyPatch.context() as patch:
        real = {name: getattr(storage, name) for name in ("get_bytes", "create_once", "delete", "list_objects")}

        def call(name: str, *arguments: Any, **options: Any) -> Any:
            nonlocal called
            if next(steps, None) is None and not called:
                called = True
                patch.undo()
                meanwhile()
            return real[name](*arguments, **options)

        for name in real:
            patch.setattr(storage, name, partial(call, name))
        yield
    if not called:
        meanwhile()


STEPS = range(7)


@pytest.mark.parametrize("step", STEPS)
def test_a_retry_in_the_middle_of_a_worker_leaves_a_record_or_a_source_that_is_tried_again(
    poisoned: Plan, step: int
) -> None:
    (bad,) = (one for one in list_sources(poisoned.recipe.sources) if one.uri.endswith("bad-1.mp4"))
    with called_before(step, lambda: retry(poisoned.recipe.root, Choice())):
        assert index_source(Chunk(bad, []), poisoned)[0].state == "quarantined"
    tried_again = "bad-1.mp4" not in records(poisoned)
    (chunk,) = index_source(Chunk(bad, StoredKeys(poisoned).of(bad.source_id)), poisoned)
    assert chunk.state == "quarantined"
    assert records(poisoned)["bad-1.mp4"]["attempts"] == 1 + tried_again


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_in_the_middle_of_a_retry_leaves_a_record_or_a_source_that_is_tried_again(
    poisoned: Plan, step: int
) -> None:
    cut(poisoned)
    (bad,) = (one for one in list_sources(poisoned.recipe.sources) if one.uri.endswith("bad-1.mp4"))
    listed = StoredKeys(poisoned).of(bad.source_id)
    with called_before(step, lambda: index_source(Chunk(bad, listed), poisoned)):
        retry(poisoned.recipe.root, Choice(uri_prefix=bad.uri))
    (chunk,) = index_source(Chunk(bad, StoredKeys(poisoned).of(bad.source_id)), poisoned)
    assert chunk.state == "quarantined" and records(poisoned)["bad-1.mp4"]["attempts"] in (1, 2)


def test_purge_forgets_what_is_gone_or_overwritten_and_keeps_the_rest(poisoned: Plan) -> None:
    root, raw = poisoned.recipe.root, poisoned.recipe.sources[0]
    cut(poisoned)
    retry(root, Choice())
    cut(poisoned)
    storage.delete(f"{raw}bad-1.mp4")
    found = storage.head(f"{raw}bad-2.mp4")
    assert found and storage.swap(found.uri, found.etag, b"another")
    assert purge(root, Choice(), dry_run=True).startswith("2 sources (not_video 2) would be forgotten")
    assert len(records(poisoned)) == 3
    assert purge(root, Choice()).startswith("2 sources (not_video 2) were forgotten")
    assert set(records(poisoned)) == {"empty.mp4"}
    assert len(keys(poisoned, "retried")) == 1 and len(keys(poisoned, "index")) == 1
    purge(root, Choice(), everything=True)
    assert (keys(poisoned, "retried"), keys(poisoned, "quarantine"), len(keys(poisoned, "index"))) == ([], [], 1)
    cut(poisoned)
    assert records(poisoned)["empty.mp4"]["attempts"] == 1


def test_purge_refuses_where_the_sources_bucket_is_not_there(prefix: str, poisoned: Plan) -> None:
    cut(poisoned)
    (record, *_) = read_quarantine(poisoned.recipe.root)
    fields = record.fields | {"uri": "s3://no-such-bucket/a.mp4"}
    storage.create_once(poisoned.uri("quarantine/other/id"), json.dumps(fields).encode())
    with pytest.raises(UserError, match="no bucket 'no-such-bucket'"):
        purge(poisoned.recipe.root, Choice())
    assert len(list(read_quarantine(poisoned.recipe.root))) == 4


def test_a_name_that_would_steer_the_terminal_is_written_out(
    poisoned: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"kind": "corrupt", "stage": "index", "message": "x", "attempts": 1, "good_frames": None, "at": "now"}
    fields |= {"uri": "s3://raw/\x1b[2J\u202e\u00e9.mp4", "source_id": "id", "etag": "e"}
    storage.create_once(poisoned.uri("quarantine/other/id"), json.dumps(fields).encode())
    assert cli.main(["quarantine", "list", "--root", poisoned.recipe.root]) == 0
    assert "s3://raw/\\x1b[2J\\u202e\u00e9.mp4" in capsys.readouterr().out


def test_commands_take_kinds_and_prefixes_and_a_dry_run_changes_nothing(
    poisoned: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(poisoned)
    root = ["--root", poisoned.recipe.root]
    before = list_quarantine(poisoned.recipe.root)
    assert cli.main(["quarantine", "list", *root, "--kind", "empty"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1 source (empty 1) in quarantine")
    (record,) = read_quarantine(poisoned.recipe.root, Choice(["empty"]))
    for name in ("uri", "etag", "stage", "kind", "message", "at"):
        assert record.fields[name] in shown
    assert "1 attempt," in shown
    assert cli.main(["quarantine", "retry", *root, "--dry-run", "--uri-prefix", f"{poisoned.recipe.sources[0]}b"]) == 0
    assert capsys.readouterr().out.startswith("2 sources (not_video 2) would be tried again")
    assert cli.main(["quarantine", "purge", *root, "--all", "--dry-run"]) == 0
    assert list_quarantine(poisoned.recipe.root) == before
    with pytest.raises(SystemExit):
        cli.main(["quarantine", "retry", *root, "--kind", "blurry"])

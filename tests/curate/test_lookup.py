"""reelworks.curate.lookup and the sources of manifests: what the bucket has, in few requests, and what it lacks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from reelworks import storage
from reelworks.curate.listing import listed_sources
from reelworks.curate.lookup import look_up
from reelworks.curate.sources import Source, list_sources, open_source
from reelworks.errors import ListingError, ListingErrorKind, UserError


def put(prefix: str, *names: str) -> None:
    for name in names:
        storage.create_once(f"{prefix}/{name}", name.encode())


def manifest(prefix: str, *rows: dict[str, Any], name: str = "m.jsonl") -> str:
    storage.create_once(f"{prefix}/{name}", "\n".join(map(json.dumps, rows)).encode())
    return f"{prefix}/{name}"


def names(prefix: str, sources: Iterator[Source]) -> list[tuple[str, str | None]]:
    return [(source.uri.removeprefix(f"{prefix}/"), source.problem) for source in sources]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the client was asked for a page."""
    counts: Counter[str] = Counter()
    client = storage.client.s3()  # type: ignore[attr-defined]

    class Counting:
        def __getattr__(self, name: str) -> Any:
            counts[name] += 1
            return getattr(client, name)

    monkeypatch.setattr(storage.objects, "s3", lambda: Counting())  # type: ignore[attr-defined]
    return counts


def test_close_names_are_found_with_their_sidecars_by_one_request(prefix: str, requests: Counter[str]) -> None:
    put(prefix, "v/a.mp4", "v/a.json", "v/b.mp4", "v/b.mp4.json", "v/b.x.mp4", "v/c", "v/d.mov", "v/e.mp4")
    requests.clear()
    wanted = [f"{prefix}/v/{name}" for name in ("e.mp4", "a.mp4", "b.x.mp4", "b.mp4", "c")]
    found = look_up(wanted)
    assert requests == {"list_objects_v2": 1}
    assert set(found) == set(wanted)
    sidecars = {uri[-7:]: (one.sidecar_uri or "").rpartition("/")[2] for uri, one in found.items() if one.sidecar_uri}
    assert sidecars == {"v/a.mp4": "a.json", "v/b.mp4": "b.mp4.json"}
    assert found[wanted[1]].size == len("v/a.mp4") and found[wanted[1]].etag


def test_names_far_apart_missing_ones_and_missing_buckets_are_told_apart(prefix: str, requests: Counter[str]) -> None:
    put(
        prefix,
        "one/a.mp4",
        "two/b.mp4",
        "two/b.json",
        "three",
        "three.json",
        "three-and-more",
        "four/c.mp4",
        "four/c/d.mp4",
    )
    requests.clear()
    present = [f"{prefix}/{name}" for name in ("one/a.mp4", "two/b.mp4", "three", "four/c.mp4", "four/c/d.mp4")]
    absent = [f"{prefix}/{name}" for name in ("one/a", "one/a.mp", "thre", "four/a.mp4")]
    found = look_up([*present, *absent, *(f"s3://no-such-bucket/{i}.mp4" for i in range(5))])
    assert set(found) == set(present)
    assert {uri.rpartition("/")[2] for uri, one in found.items() if one.sidecar_uri} == {"b.mp4", "three"}


def test_a_walk_gives_up_after_a_page_without_a_hit_and_still_finds_the_rest(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelworks.curate.lookup.PAGE", 3)
    put(prefix, *(f"v/{i:02d}.mp4" for i in range(12)), "v/11.json")
    wanted = [f"{prefix}/v/{i:02d}.mp4" for i in (0, 1, 5, 11)]
    found = look_up(wanted)
    assert list(map(bool, map(found.get, wanted))) == [True] * 4
    assert found[wanted[3]].sidecar_uri == f"{prefix}/v/11.json"


def test_every_row_is_a_source_or_says_why_not_and_prefixes_add_what_is_left(prefix: str) -> None:
    put(prefix, "raw/a.mp4", "raw/a.json", "raw/b.mp4", "raw/b.json", "raw/c.mp4", "raw/d.mp4", "raw/e.mp4")
    head = {name: storage.head(f"{prefix}/raw/{name}.mp4") for name in "abcd"}
    uri = {name: f"{prefix}/raw/{name}.mp4" for name in "abcdx"}
    assert head["c"]
    rows = [
        {"uri": uri["a"], "caption": "from the manifest"},
        {"uri": uri["b"]},
        {"uri": uri["c"], "etag": head["c"].etag, "size": head["c"].size},
        {"uri": uri["d"], "etag": "0" * 32},
        {"uri": uri["a"], "caption": "again"},
        {"uri": uri["x"]},
        {"url": uri["x"]},
    ]
    places = [f"{prefix}/raw/", manifest(prefix, *rows, name="raw/m.jsonl")]
    found = list(list_sources(places))
    assert names(prefix, iter(found)) == [
        ("raw/a.mp4", None),
        ("raw/b.mp4", None),
        ("raw/c.mp4", None),
        ("raw/d.mp4", "changed_object"),
        ("raw/m.jsonl#5", "duplicate_row"),
        ("raw/x.mp4", "missing_object"),
        ("raw/m.jsonl#7", "malformed_row"),
        ("raw/e.mp4", None),
    ]
    assert (found[0].caption, found[0].sidecar_uri) == ("from the manifest", None)
    assert (found[1].caption, found[1].sidecar_uri) == (None, f"{prefix}/raw/b.json")
    assert len({source.source_id for source in found}) == len(found)
    with pytest.raises(ListingError, match="line 6, names it, and there is no such object") as caught:
        open_source(found[5])
    assert caught.value.kind is ListingErrorKind.missing_object
    assert listed_sources(places).digest == listed_sources(places[::-1]).digest


def test_an_object_named_by_two_manifests_is_a_source_once(prefix: str) -> None:
    put(prefix, "a.mp4")
    row = {"uri": f"{prefix}/a.mp4"}
    places = [manifest(prefix, row, name="2.jsonl"), manifest(prefix, row, name="1.jsonl")]
    assert names(prefix, list_sources(places)) == [("a.mp4", None), ("2.jsonl#1", "duplicate_row")]


def test_the_digest_of_sources_changes_with_every_row_and_with_what_the_bucket_has(prefix: str) -> None:
    put(prefix, "a.mp4", "b.mp4")
    rows = [{"uri": f"{prefix}/a.mp4", "caption": "x"}, {"uri": f"{prefix}/b.mp4"}, {"uri": f"{prefix}/c.mp4"}]
    variants = [
        rows,
        rows[:2],
        [rows[0] | {"caption": "y"}, *rows[1:]],
        [{"uri": rows[0]["uri"]}, *rows[1:]],
        [*rows, rows[0]],
        [*rows, {}],
    ]
    digests = [listed_sources([manifest(prefix, *v, name=f"{i}.jsonl")]).digest for i, v in enumerate(variants)]
    assert len(set(digests)) == len(variants)
    assert listed_sources([manifest(prefix, *rows[::-1], name="reversed.jsonl")]).digest == digests[0]
    put(prefix, "c.mp4")
    assert listed_sources([f"{prefix}/0.jsonl"]).digest != digests[0]


def test_objects_that_may_not_be_listed_are_the_users_error(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = manifest(prefix, {"uri": f"{prefix}/a.mp4"})
    original = storage.list_objects

    def refused(uri: str, start_after: str | None = None) -> Iterator[storage.ObjectInfo]:
        from reelworks.errors import StorageError, StorageErrorKind

        if not uri.endswith("/"):
            raise StorageError(StorageErrorKind.access_denied, uri, "AccessDenied")
        return original(uri, start_after)

    monkeypatch.setattr(storage, "list_objects", refused)
    with pytest.raises(UserError, match="may not list. give the credentials s3:ListBucket"):
        list(list_sources([place]))

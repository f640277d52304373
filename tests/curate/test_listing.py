"""reelworks.curate.listing: page by page, with ETag and size, in memory that doesn't grow with the keys."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from reelworks import storage
from reelworks.curate.listing import listed_sources
from reelworks.curate.sources import list_sources
from reelworks.storage import objects
from tests.curate.pages import Pages
from tests.storage.tap import tapped


def test_sources_come_page_by_page_with_the_etag_and_size_of_their_objects(
    s3_server: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(number: int) -> tuple[str, str, int]:
        uri, data = f"{prefix}/raw/{number:04d}.mp4", b"x" * (number % 7)
        return uri, storage.create_once(uri, data).etag, len(data)

    with ThreadPoolExecutor(16) as pool:
        stored = list(pool.map(put, range(1010)))
    with tapped(s3_server) as tap:
        monkeypatch.setenv("AWS_ENDPOINT_URL", tap.endpoint)
        listing = list_sources([f"{prefix}/raw/"])
        first = next(listing)
        assert len(tap.requests) == 1, "the first source is there before the second page was asked for"
        assert [(one.uri, one.etag, one.size) for one in (first, *listing)] == stored
    assert ["list-type" in one.query for one in tap.requests] == [True, True]


@pytest.mark.parametrize("prefixes", [["s3://b/raw/"], ["s3://b/1/", "s3://b/2/", "s3://b/3/"]])
def test_listing_prefixes_takes_at_most_64_bytes_a_key(monkeypatch: pytest.MonkeyPatch, prefixes: list[str]) -> None:
    def peak_bytes(count: int) -> int:
        pages = Pages(count // len(prefixes))
        monkeypatch.setattr(objects, "s3", lambda: pages)
        tracemalloc.start()
        assert listed_sources(prefixes).count == count // 2
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert pages.asked == len(prefixes) * (-(-count // len(prefixes) // 1000))
        return peak

    few, many = 3000, 12_000
    peak_bytes(few)  # what is imported at first use
    assert peak_bytes(many) - peak_bytes(few) < 64 * (many - few)

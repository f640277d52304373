"""reelworks.curate.recipe: what is refused before anything is touched."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.curate.conftest import recipe_for


@pytest.mark.parametrize(
    ("root", "sources", "refused"),
    [
        ("raw/data", "raw/", True),
        ("raw/data", "raw", True),
        ("raw", "raw/", True),
        ("raw", "", True),
        ("raw-data/x", "raw", True),
        ("raw-data/x", "raw/", False),
        ("raw.jsonl/data", "raw.jsonl", False),
        ("data", "raw/", False),
        ("data", "data/raw/", False),
        ("", "raw/", False),
    ],
)
def test_a_root_is_refused_exactly_where_listing_the_sources_would_show_results(
    root: str, sources: str, refused: bool
) -> None:
    models = dict.fromkeys(("captioner", "text", "vae"), "nowhere")
    with pytest.raises(ValueError, match="choose another root") if refused else nullcontext():
        recipe_for(f"s3://b/{root}".rstrip("/"), f"s3://b/{sources}", models)

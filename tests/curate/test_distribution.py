"""reelworks.curate.distribution: bars that hold every clip once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import schema
from reelworks.curate.distribution import COLUMNS, as_lines, aspect_name, distributions, of_classes, of_numbers
from tests.curate.test_commit import rows


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.floats(1e-3, 1e6) | st.integers(1, 9).map(float), min_size=1, max_size=80))
def test_every_value_is_in_one_bar(values: list[float]) -> None:
    found = of_numbers("x", np.array(values))
    assert sum(found.counts) == len(values) and len(found.labels) == len(found.counts) <= 24
    assert found.quantiles and min(values) <= found.quantiles[0] <= found.quantiles[2] <= max(values)


def test_values_over_decades_are_spread_and_do_not_share_one_bar() -> None:
    counts = of_numbers("tokens", np.geomspace(1, 10_000, 240)).counts
    assert max(counts) <= 11 and len(counts) == 24


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [
        (1920, 1080, "16:9"),
        (854, 480, "16:9"),
        (1080, 1920, "9:16"),
        (720, 576, "4:3"),
        (40, 40, "1:1"),
        (1, 99, "9:21"),
    ],
)
def test_a_shape_has_the_name_that_people_use(width: int, height: int, name: str) -> None:
    assert aspect_name(width, height) == name


def test_classes_beyond_the_most_frequent_are_one_bar_and_not_lost() -> None:
    found = of_classes("size", {f"{i}x1": i for i in range(1, 31)})
    assert found.labels[0] == "30x1" and found.labels[-1] == "20 others"
    assert sum(found.counts) == 30 * 31 // 2


def test_scores_and_captions_are_measured_where_rows_have_them() -> None:
    clips = [
        {**row, "caption_short": "a b c", "scores": [("motion", i / 7), ("blur", float("nan"))]}
        for i, row in enumerate(rows(9))
    ]
    tables = [pa.Table.from_pylist(part, schema.CLIP).select(COLUMNS) for part in (clips[:4], clips[4:])]
    found = {one.name: one for one in distributions(tables)}
    assert found["words in short captions"].labels == ["3"] and sum(found["score: motion"].counts) == 9
    assert "score: blur" not in found and "words in original captions" not in found
    assert (found["aspect"].labels, found["native size"].counts) == (["1:1"], [9])
    assert any(line.startswith("tokens ") for line in as_lines(list(found.values())))

"""reelworks.curate.report, report_page, pictures: one file that shows a snapshot and trusts nobody's words."""

from __future__ import annotations

import base64
import io
import uuid
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reelworks import cli, schema, storage
from reelworks.curate.distribution import distributions, of_classes, of_numbers, sums
from reelworks.curate.pictures import contact_sheet, draw, fitted_lines
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.report import picture_uri, report
from reelworks.curate.report_chart import chart
from reelworks.curate.report_page import Card, Page, render
from reelworks.curate.snapshot import resolve_snapshot
from tests.curate.conftest import commit_inline, recipe_for, upload_world
from tests.curate.forged import damaged
from tests.curate.run_log import Log

EVIL = "<script>alert(1)</script><img src='http://x/'>'\""


@pytest.fixture(scope="module")
def plan(s3_server: str, tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Plan:
    """A data set with one snapshot of a small shapeworld, hostile files among it."""
    base = f"s3://reelworks/report-{uuid.uuid4().hex}"
    upload_world(f"{base}/raw", num_videos=2)
    recipe = recipe_for(f"{base}/data", f"{base}/raw/", models, pictures={"contact_sheet": 3})
    commit_inline(recipe, tmp_path_factory.mktemp("spool") / "one")
    return make_plan(recipe)


class Tags(HTMLParser):
    """Every tag of a page with its attributes; a page that isn't well formed loses some."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def page(**changes: Any) -> str:
    values: dict[str, Any] = {
        "title": EVIL, "about": {"id": EVIL}, "counts": {"with_clips": 3, EVIL: 4},
        "distributions": [of_numbers(EVIL, np.arange(99.0)), of_classes("size", {EVIL: 2})],
        "quarantine": [{"uri": EVIL, "stage": "index", "kind": "corrupt", "message": EVIL}] * 201,
        "changes": EVIL, "settings": {"models": {"latents": EVIL}},
        "cards": [Card(EVIL, EVIL, EVIL, "", EVIL, {"short": EVIL, "original": None}, {EVIL: 0.5})],
    }  # fmt: skip
    return render(Page(**(values | changes)))


def test_nobodys_words_become_markup() -> None:
    tags = Tags(page())
    assert tags.named("script") == [] and tags.named("img") == []
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]


def test_the_quarantine_is_counted_whole_though_only_some_are_named() -> None:
    text = page()
    assert "and 1 more" in text and ">201<" in text
    assert "No source is in quarantine" in page(quarantine=[])


def test_dropped_clips_are_charted_by_reason() -> None:
    text = page(counts={"with_clips": 1, "dropped": 5, "dropped_motion": 3, "dropped_duplicate": 2}, quarantine=[])
    assert "clips dropped" in text and ">motion<" in text and ">duplicate<" in text


def test_a_chart_has_a_bar_for_each_count_in_proportion() -> None:
    text = page(distributions=[of_numbers("x", np.array([1.0] * 4 + [2.0]))], quarantine=[], counts={"a": 1}, cards=[])
    heights = [float(rect["height"] or 0) for rect in Tags(text).named("rect")]
    assert heights == [92.0, 23.0]


def test_counts_are_told_as_sums_that_add_up() -> None:
    counts = {"sources": 9, "with_clips": 5, "no_clips": 1, "quarantined": 3, "changed": 0, "clips": 1200}
    assert sums(counts | {"dropped": 8, "dropped_motion": 5, "dropped_luma": 3, "dropped_still": 0}) == [
        "9 sources = 5 with clips + 1 no clips + 3 quarantined",
        "1,208 clips found = 1,200 kept + 8 dropped (5 motion + 3 luma)",
    ]
    assert "1,200 clips found = 1,200 kept + 0 dropped" in page(counts=counts)


def test_a_chart_names_its_axes_and_says_how_its_bars_are_spaced() -> None:
    wide = chart(of_numbers("tokens", np.geomspace(1, 10_000, 240)))
    for told in ("240 clips", ">clips<", ">tokens<", ">0<", ">1<", ">1e+04<", "logarithmic"):
        assert told in wide
    few = chart(of_numbers("frames", np.array([5.0, 5, 9, 17])), "sources")
    assert ">5<" in few and ">9<" in few and ">17<" in few and "not to scale" in few and ">sources<" in few
    assert "equal steps" in chart(of_numbers("luma", np.linspace(50, 200, 99)))


def test_a_label_ends_inside_the_drawing_and_is_whole_on_hovering() -> None:
    name = "x" * 300
    drawn = chart(of_classes("size", {name: 2, "1x1": 1}))
    assert f"text-anchor='end'>{'x' * 27}…<title>{name}</title>" in drawn


def test_captions_keep_their_direction_and_the_missing_ones_are_told_from_the_empty() -> None:
    captions = {"original": "رجل يركب دراجة", "short": "", "descriptive": None}
    shown = page(cards=[Card("a", "s3://b/\u202egp4", "about", "", "it is gone", captions, {"sharpness": 1234.5})])
    assert "<dt>original<dd dir=auto>رجل يركب دراجة" in shown and "<dt>short<dd dir=auto><i>empty</i>" in shown
    assert "<dt>descriptive" not in shown and "<bdi>s3://b/\u202egp4</bdi>" in shown
    assert "no picture: it is gone" in shown and "sharpness 1,234<" in shown
    assert "without a caption" in page(cards=[Card("a", "b", "c", "", "d", {"short": None}, {})])


def test_a_page_about_no_clip_at_all_says_so() -> None:
    shown = page(
        distributions=distributions([schema.CLIP.empty_table()]), cards=[], counts={}, changes="", quarantine=[]
    )
    for told in ("no clip to measure", "No clip was asked for", "0 clips found = 0 kept + 0 dropped"):
        assert told in shown


def test_captions_on_the_contact_sheet_end_beside_their_clip() -> None:
    lines = fitted_lines(["original: a b", "short: " + "long words " * 90, "descriptive: " + "W" * 10_000])
    assert len(lines) == 6 and max(map(len, lines)) <= 46
    assert lines[0] == "original: a b" and sum(line.endswith("…") for line in lines) == 2
    frames = np.zeros((2, 96, 96, 3), np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet([(frames, lines), (frames, []), (frames, ["x"])]))))
    assert (sheet[:104, sheet.shape[1] // 2 - 4 : sheet.shape[1] // 2] == 255).all()  # nothing runs into its neighbour
    assert (sheet[100:104] == 255).all()  # nor into the clip below


def test_the_report_holds_the_snapshots_clips_charts_and_quarantine_and_asks_for_no_other_file(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "world.html"
    arguments = ["world@latest", "--root", plan.recipe.root, "--clips", "3", "--output", str(out)]
    assert cli.main(["dataset", "report", *arguments]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    tags = Tags(text)
    pictures = [attributes["src"] or "" for attributes in tags.named("img")]
    assert len(pictures) == 3
    for picture in pictures:
        data = base64.b64decode(picture.removeprefix("data:image/jpeg;base64,"))
        assert picture.startswith("data:") and max(Image.open(io.BytesIO(data)).size) >= 128
    addresses = [attributes.get(name) for _, attributes in tags.found for name in ("src", "href", "data", "srcset")]
    assert {address for address in addresses if address} == set(pictures) and "@import" not in text
    assert "filters.duplicate_bits" not in text  # not set, so nothing to show
    for heading in ("duration (s)", "encoded size", "aspect", "tokens", "hostile-truncated.mp4", "descriptive"):
        assert heading in text
    assert "What changed since" not in text  # it is the first


def test_the_job_logs_the_page_that_the_command_writes(plan: Plan) -> None:
    log = Log()
    draw(plan, log, resolve_snapshot(plan.recipe.root, "world@1"))  # type: ignore[arg-type]
    assert log.files["prepare/report.html"].decode() == report(plan.recipe.root, "world@1", 3)
    assert Image.open(io.BytesIO(log.files["prepare/contact_sheet.png"])).width > 300


def test_a_source_that_is_gone_costs_its_picture_and_not_the_report(
    prefix: str, models: dict[str, str], tmp_path: Path
) -> None:
    upload_world(f"{prefix}/raw", num_videos=1, hostile=False)
    recipe = recipe_for(f"{prefix}/data", f"{prefix}/raw/", models, captioner=None)
    commit_inline(recipe, tmp_path / "one")
    storage.delete_prefix(f"{prefix}/raw/")
    upload_world(f"{prefix}/raw", num_videos=2, hostile=False)
    commit_inline(recipe, tmp_path / "two")
    storage.delete_prefix(f"{prefix}/raw/")
    text = report(recipe.root, "world@2", 2)
    assert text.count("overwritten or deleted since") == 2 and Tags(text).named("img") == []
    assert "What changed since" in text and "1 added" in text


@pytest.mark.parametrize("garbage", [b"", b"{}", b'{"clips": [1]}', b"PAR1"])
def test_an_index_that_can_not_be_read_costs_its_clips_the_short_way_and_not_the_report(
    plan: Plan, garbage: bytes
) -> None:
    expected = report(plan.recipe.root, "world@1", 3)
    with ExitStack() as stack:
        for found in list(storage.list_objects(plan.uri("index/"))):
            stack.enter_context(damaged(found.uri, lambda _: garbage))
        assert report(plan.recipe.root, "world@1", 3) == expected


def test_a_strip_shows_the_first_and_the_last_frame() -> None:
    frames = np.zeros((9, 64, 32, 3), np.uint8)
    frames[0], frames[-1] = 250, 120
    data = base64.b64decode(picture_uri(frames).partition(",")[2])
    strip = np.asarray(Image.open(io.BytesIO(data)))
    assert strip.shape == (128, 256, 3)
    assert (int(strip[64, 30, 0]), int(strip[64, 90, 0]), int(strip[64, 230, 0])) == pytest.approx((250, 0, 120), abs=4)

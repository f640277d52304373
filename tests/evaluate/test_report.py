import io

import numpy as np
from PIL import Image

from reelworks.evaluate.pictures import filmstrip, png, stack_rows
from reelworks.evaluate.report import Page, flatten, render


def test_text_from_outside_is_escaped_in_the_page():
    page = render(
        Page(
            figures={"total_seconds": 60, "stage_seconds": {}},
            banner="<b>careful</b>",
            clips=[{"picture": "a.png", "original": "<script>x</script>", "short": "s", "descriptive": "d"}],
            quarantine=[{"uri": "s3://raw/<i>.mp4", "kind": "empty", "message": "no & bytes"}],
        )
    )
    assert "<script>" not in page and "<i>" not in page and "<b>careful" not in page
    assert "&lt;script&gt;x" in page and "no &amp; bytes" in page


def test_every_figure_stands_in_the_page_and_null_is_a_dash():
    figures = {"sources": 7, "caption_accuracy": {"macro": 0.9312, "shape": None}, "intervals": {"colour": [0.8, 0.9]}}
    assert flatten(figures) == [
        ("sources", 7),
        ("caption_accuracy.macro", 0.9312),
        ("caption_accuracy.shape", None),
        ("intervals.colour", [0.8, 0.9]),
    ]
    page = render(Page(figures=figures))
    for shown in ("caption_accuracy.macro", "0.931", "–", "0.800 to 0.900"):
        assert shown in page


def test_empty_sections_are_left_out():
    assert "Quarantined" not in render(Page(figures={}))


def test_curve_of_a_constant_metric_does_not_divide_by_zero():
    assert "polyline" in render(Page(figures={}, curves={"train_dit: loss": [(0, 1.0), (10, 1.0)]}))


def test_filmstrip_shows_first_and_last_frame_enlarged_by_whole_factors():
    frames = np.zeros((9, 32, 48, 3), np.uint8)
    frames[0], frames[-1] = 10, 200
    strip = filmstrip(frames, num_shown=3)
    assert strip.shape == (96, 3 * 144 + 2 * 4, 3)
    assert (strip[:, :144] == 10).all() and (strip[:, -144:] == 200).all()
    sheet = stack_rows([strip, strip[:, :144]])
    assert sheet.shape == (96 * 2 + 4, strip.shape[1], 3)
    assert Image.open(io.BytesIO(png(sheet))).size == (sheet.shape[1], sheet.shape[0])

from reelworks.evaluate.caption_share import share_from_captioner
from reelworks.train.dit_recipe import Text

TEXT = Text(encoder="package:x", max_tokens=32, captions={"descriptive": 0.95, "original": 0.05}, dropout=0.1)


def row(number: int, **captions: str | None) -> dict:
    known = {"caption_original": None, "caption_short": None, "caption_descriptive": None, "captioner": None}
    return {"clip_id": f"clip-{number}", **known, **captions}


def test_share_is_what_training_draws_with_null_texts_left_out():
    rows = [row(n, caption_original="a", caption_descriptive="b", captioner="f") for n in range(500)]
    assert 0.93 < share_from_captioner(rows, TEXT, seed=0) < 0.97


def test_descriptions_that_no_captioner_wrote_do_not_count():
    rows = [row(n, caption_original="a", caption_descriptive="b") for n in range(20)]
    assert share_from_captioner(rows, TEXT, seed=0) == 0.0
    assert share_from_captioner([row(1)], TEXT, seed=0) == 0.0


def test_clips_without_an_original_fall_to_the_captioner():
    rows = [row(n, caption_descriptive="b", captioner="f") for n in range(20)]
    assert share_from_captioner(rows, TEXT, seed=0) == 1.0

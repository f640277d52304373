"""reelworks.video.fragments: what MP4 in fragments costs at the S3 server, with and without a table of them."""

from __future__ import annotations

import numpy as np
import pytest

from reelworks import storage
from reelworks.video import decode, fragments, open_video
from reelworks.video.encode import encode_video
from reelworks.video.fragments import keep_fragment_heads
from tests.storage.tap import Tap
from tests.video.long import clip_bytes
from tests.video.painted import paint, read_numbers
from tests.video.stored import stored

FPS, SECONDS, GOP = 24, 24, 24
FLAGS = "frag_keyframe+empty_moov+default_base_moof"
KIB = 2**10


def film(flags: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 90, (FPS, 240, 320, 3), np.uint8)
    frames = np.concatenate([paint(FPS, 240, 320, FPS * second) // 2 + noise for second in range(SECONDS)])
    options = {"preset": "ultrafast", "g": str(GOP), "bf": "2", "crf": "27", "x264-params": "scenecut=0"}
    return encode_video(frames, FPS, "h264", "mp4", options=options, muxer_options={"movflags": flags})


@pytest.mark.parametrize("table", [False, True])
def test_clips_and_sparse_frames_of_fragments_cost_what_they_must_and_their_heads_are_read_once(
    tap: Tap, s3_server: str, table: bool
) -> None:
    data = film(FLAGS + "+global_sidx" * table)
    uri = stored(f"fragments-{table}.mp4", data).uri
    pts_s = decode(data, size=(24, 32)).pts_s
    costs = []
    for _ in range(2):
        tap.clear()
        with storage.open_ranged(uri) as file, open_video(file) as reader:
            costs.append((len(tap.gets(uri)), sum(one.body_bytes for one in tap.gets(uri))))
            for first, count in ((24 * 18 + 3, 48), (24 * 7 + 9, 30)):
                tap.clear()
                span_s = (pts_s[first] - 1e-3, pts_s[first + count] - 1e-3)
                clip = reader.frames(span_s=span_s)
                assert read_numbers(clip.frames) == [(first + number) % 256 for number in range(count)]
                cost = sum(one.body_bytes for one in tap.gets(uri))
                assert cost <= 1.3 * clip_bytes(data, *span_s) + 256 * KIB
            tap.clear()
            wanted = [FPS * SECONDS * n // 9 + 5 for n in range(8)]
            sparse = reader.frames(times_s=pts_s[wanted].tolist())
            assert read_numbers(sparse.frames) == [number % 256 for number in wanted]
            assert sum(one.body_bytes for one in tap.gets(uri)) <= 8 * (1.3 * len(data) / SECONDS + 64 * KIB)
    assert costs[0][0] <= SECONDS + 6 and costs[0][1] <= SECONDS * 5 * KIB + 512 * KIB
    assert costs[1][0] <= 3


@pytest.mark.parametrize("size", [0, 7])
def test_a_table_without_a_length_is_not_taken_for_the_rest_of_the_object(s3_server: str, size: int) -> None:
    data = bytearray(film(FLAGS + "+global_sidx"))
    at = data.index(b"sidx") - 4
    data[at : at + 4] = size.to_bytes(4, "big")
    with storage.open_ranged(stored("no-length.mp4", bytes(data)).uri) as file:
        keep_fragment_heads(file, at, len(data))
        assert file.bytes_read <= 2 * 64 * KIB < len(data) // 4


def test_heads_are_kept_up_to_a_limit(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = film(FLAGS)
    with storage.open_ranged(stored("many-heads.mp4", data).uri) as file:
        keep_fragment_heads(file, data.index(b"moof") - 4, len(data))
        assert file.requests >= SECONDS
    monkeypatch.setattr(fragments, "_KEPT_BYTES", 5 * 4 * KIB)
    with storage.open_ranged(stored("fewer-heads.mp4", data).uri) as file:
        keep_fragment_heads(file, data.index(b"moof") - 4, len(data))
        assert file.requests <= 6

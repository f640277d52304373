"""Films as chance makes them: every frame has its number and its time, walked to or jumped to."""

from __future__ import annotations

import io

import numpy as np
import pytest

from reelworks.video.places import Place
from reelworks.video.reader import Reader
from tests.video.painted import read_numbers
from tests.video.random_films import RandomFilm, random_film

SEEDS = range(32)


def check(film: RandomFilm, seed: int) -> None:
    """Raises AssertionError that says what is wrong about a film, read as a whole, by spans and by times."""
    with Reader(io.BytesIO(film.data)) as reader:
        told, walked = reader.probe, reader.frames()
    numbers = read_numbers(walked.frames)
    wrong = [n for n, found in enumerate(numbers) if found not in (n % 256, -1)]  # -1: too small or coarse to tell
    assert (len(walked), wrong, numbers.count(-1) <= len(walked) // 10) == (len(film.times_s), [], True), film.about
    late_s = walked.pts_s - walked.pts_s[0] - film.times_s
    assert np.abs(late_s).max() <= 2 * film.within_s, (film.about, int(np.abs(late_s).argmax()))
    assert film.fps is None or told.fps == pytest.approx(film.fps, rel=0.05), film.about
    with Reader(io.BytesIO(film.data)) as reader:
        places = [Place(*place) for batch in reader.batches(size=(16, 16)) for place in batch.places.tolist()]
    draw = np.random.default_rng(seed)
    with Reader(io.BytesIO(film.data)) as reader:
        for _ in range(3):
            some = sorted(places[at] for at in draw.choice(len(places), min(len(places), 5), replace=False))
            start_s = walked.pts_s[0] + draw.uniform(0, film.times_s[-1])
            inside = (walked.pts_s >= start_s) & (walked.pts_s < start_s + 1)
            span = reader.frames(span_s=(start_s, start_s + 1), places=some)
            assert np.array_equal(span.pts, walked.pts[inside]), film.about
            assert np.array_equal(span.frames, walked.frames[inside]), film.about
            times_s = walked.pts_s[0] + draw.uniform(-0.5, film.times_s[-1] + 0.5, 5)
            shown = np.clip(np.searchsorted(walked.pts_s, times_s, "right") - 1, 0, None)
            found = reader.frames(times_s=times_s.tolist(), places=some)
            assert np.array_equal(found.pts, walked.pts[shown]), film.about
            assert np.array_equal(found.frames, walked.frames[shown]), film.about


@pytest.mark.parametrize("seed", SEEDS)
def test_every_frame_has_its_number_and_time(seed: int) -> None:
    check(random_film(seed), seed)

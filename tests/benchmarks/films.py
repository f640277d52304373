"""`python -m tests.benchmarks.films`: how many of so many random films are read right, frame by frame.

Each film (tests/video/random_films.py) is decoded as a whole, by spans and by times, with and without the places that
the index stage notes, and held against the numbers painted in its frames and the times that it was made with. No film
may be wrong. A few minutes on one core for a thousand.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from reelworks.errors import VideoError
from tests.benchmarks.record import record
from tests.video.random_films import random_film
from tests.video.test_random_films import SEEDS, check

FILMS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=FILMS)
    count = parser.parse_args().films
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(len(SEEDS), len(SEEDS) + count):  # behind those that the tests read
        film = random_film(seed)
        kinds[film.about.split(": ")[1].split(",")[0]] += 1
        try:
            check(film, seed)
        except (AssertionError, VideoError) as error:
            wrong.append(f"{film.about}: {error}"[:500])
            print(wrong[-1], flush=True)
    record("films", {"films": count, "wrong": wrong, "kinds": dict(sorted(kinds.items()))})
    print(f"{len(wrong)} of {count} films were read wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())

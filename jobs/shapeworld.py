"""Render raw videos with known truth and put them into a bucket."""

from reelworks.job import run_job
from reelworks.shapeworld.upload import ShapeworldRecipe, make_corpus

if __name__ == "__main__":
    run_job(ShapeworldRecipe, make_corpus)

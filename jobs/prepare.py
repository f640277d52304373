"""Raw video in a bucket to a committed snapshot of captioned, encoded clips."""

from reelworks.curate.prepare import check_models, prepare
from reelworks.curate.recipe import PrepareRecipe
from reelworks.job import run_job

if __name__ == "__main__":
    run_job(PrepareRecipe, prepare, checks=check_models)

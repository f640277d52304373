"""Described clips in a bucket to a registered captioner."""

from reelworks.job import run_job
from reelworks.train.captioner_loop import TrainCaptionerRecipe, train_captioner

if __name__ == "__main__":
    run_job(TrainCaptionerRecipe, train_captioner)

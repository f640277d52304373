"""Described clips in a bucket to a registered captioner."""

from reelworks.job import run_job
from reelworks.train.captioner_loop import train_captioner
from reelworks.train.captioner_recipe import TrainCaptionerRecipe

if __name__ == "__main__":
    run_job(TrainCaptionerRecipe, train_captioner)

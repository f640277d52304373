"""Captions of a committed snapshot to a registered prompt expander."""

from reelworks.job import run_job
from reelworks.train.expander_loop import train_expander
from reelworks.train.expander_recipe import TrainExpanderRecipe

if __name__ == "__main__":
    run_job(TrainExpanderRecipe, train_expander)

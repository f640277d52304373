"""Captions of a committed snapshot to a registered prompt expander."""

from reelworks.job import run_job
from reelworks.train.expander_loop import TrainExpanderRecipe, train_expander

if __name__ == "__main__":
    run_job(TrainExpanderRecipe, train_expander)

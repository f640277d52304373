"""Train the text-to-video transformer on a snapshot."""

from reelworks.job import run_job
from reelworks.train.dit_loop import train_dit
from reelworks.train.dit_recipe import TrainDiTRecipe
from reelworks.train.dit_setup import check_recipe

if __name__ == "__main__":
    run_job(TrainDiTRecipe, train_dit, checks=check_recipe)

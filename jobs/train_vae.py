"""Raw video in a bucket to a registered causal VAE."""

from reelworks.job import run_job
from reelworks.train.vae_loop import TrainVAERecipe, train_vae

if __name__ == "__main__":
    run_job(TrainVAERecipe, train_vae)

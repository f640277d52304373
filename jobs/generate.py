"""Make a file of prompts into videos in the bucket."""

from reelworks.evaluate.generation import GenerateRecipe, generate
from reelworks.job import run_job

if __name__ == "__main__":
    run_job(GenerateRecipe, generate)

"""Measure the trained models on held-out clips and prompts, with the controls that make the figures valid."""

from reelworks.evaluate.loop import EvaluateRecipe, evaluate
from reelworks.job import run_job

if __name__ == "__main__":
    run_job(EvaluateRecipe, evaluate)

"""The evaluate verb: every figure of the report that needs the models, with the controls that make it valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from reelworks.config import Recipe, Section
from reelworks.curate.clips import ClipSpec
from reelworks.evaluate.generation import Ask
from reelworks.evaluate.held_out import load_held_out, measure_captions, measure_vae, measure_vae_on_shapeworld
from reelworks.evaluate.sampling import Workers, sample
from reelworks.evaluate.text_fidelity import (
    JudgedSampling,
    expansion_is_valid,
    fidelity,
    intervals,
    permuted,
    rates,
    readings,
)
from reelworks.shapeworld.prompts import Prompt, evaluation_prompts


class HeldOutClips(Section):
    """Clips that no model was trained on."""

    prefix: str
    """Bucket prefix of held-out raw videos."""
    num_clips: int = 200
    """Clips to measure on."""
    clips: ClipSpec = ClipSpec()
    """How clips are cut: the same fields as in prepare."""


class TextFidelity(Section):
    """Prompts of known content, read back from the videos by the shapeworld judge."""

    num_prompts: int = 240
    """Free-worded short prompts, half of them naming a (colour, shape, motion) that no training set holds."""
    num_without_expansion: int = 60
    """Prompts sampled a second time as they stand: the control that tells what expansion is worth."""
    sizes: tuple[tuple[int, int], ...]
    """(width, height) in px, taken in turn."""
    seconds: float
    """Duration of every video in seconds."""
    seed: int = 0
    """Seed of the prompts; each video's own seed is its number."""


class EvaluateRecipe(Recipe):
    """What to measure. Figures that need shapeworld's truth are null where text_fidelity is null."""

    dit: str
    """Model source of the DiT checkpoint."""
    vae: str
    """Model source of the VAE."""
    captioner: str | None = None
    """Model source of the captioner; null leaves its figures out."""
    expander: str | None = None
    """Model source of the expander; null samples prompts as they stand."""
    held_out: HeldOutClips
    """Clips for the VAE and the captioner."""
    text_fidelity: TextFidelity | None = None
    """Null on footage without known truth."""
    workers: Workers = Workers()
    """The sampling actors."""


def evaluate(recipe: EvaluateRecipe, run: Any) -> dict[str, Any]:
    """Measures the VAE and the captioner in one task while actors sample the prompts."""
    from reelworks.evaluate.caption_share import captions_from_captioner
    from reelworks.resolve import pin, resolve_model

    sources = {name: pin(source) for name in ("vae", "captioner") if (source := getattr(recipe, name))}
    held_out = ray.remote(measure_held_out).options(num_cpus=recipe.workers.num_cpus, num_gpus=recipe.workers.num_gpus)
    pending = held_out.remote(sources, recipe.held_out, recipe.text_fidelity is not None, recipe.workers.num_threads)
    results = measure_text_fidelity(recipe, recipe.text_fidelity, run) if recipe.text_fidelity else {}
    figures, pictures, captions = ray.get(pending)
    for name, picture in pictures.items():
        run.blob(picture, f"pictures/{name}.png")
    run.json(captions, "held_out_captions.json")
    reconstructions = figures.pop("judge_on_vae_reconstructions", None)
    controls = {
        **results.pop("controls", {}),
        "judge_on_vae_reconstructions": reconstructions,
        "captions_from_captioner": captions_from_captioner(resolve_model(recipe.dit).path),
    }
    return {**figures, **results, "controls": controls}


def measure_held_out(
    sources: dict[str, str], spec: HeldOutClips, has_truth: bool, num_threads: int
) -> tuple[dict[str, Any], dict[str, bytes], list[dict[str, Any]]]:
    """Figures, pictures (PNG) and captions of held-out clips; runs as one Ray task."""
    import torch

    from reelworks.models.processor_captioner import open_captioner
    from reelworks.models.vae import CausalVAE
    from reelworks.resolve import resolve_model

    torch.set_num_threads(num_threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = CausalVAE.load(resolve_model(sources["vae"]).path, device)
    clips = load_held_out(spec.prefix, spec.clips, spec.num_clips)
    figures: dict[str, Any] = {"vae_psnr_db": measure_vae(vae, clips), "vae_psnr_in_shape_db": None}
    pictures: dict[str, bytes] = {}
    captions: list[Any] = []
    if has_truth:
        rendered, pictures["vae_reconstructions"] = measure_vae_on_shapeworld(vae, spec.num_clips, seed=10**9)
        figures["vae_psnr_rendered_db"] = rendered.pop("vae_psnr_db")
        figures |= rendered
        if "captioner" in sources:
            captioner = open_captioner(resolve_model(sources["captioner"]).path, device)
            figures["caption_accuracy"], captions = measure_captions(captioner, clips)
    return figures, pictures, captions


def measure_text_fidelity(recipe: EvaluateRecipe, spec: TextFidelity, run: Any) -> dict[str, Any]:
    """Proportions by attribute over all prompts and over the unseen triples, with intervals and controls."""
    from reelworks.resolve import pin

    prompts = evaluation_prompts(spec.num_prompts, spec.seed)
    control = prompts[: spec.num_without_expansion]
    arguments = {"dit": pin(recipe.dit), "expander": pin(recipe.expander) if recipe.expander else None}
    requests = [_row(spec, number, prompt, True) for number, prompt in enumerate(prompts)]
    requests += [_row(spec, number, prompt, False) for number, prompt in enumerate(control)]
    rows = sample(requests, JudgedSampling, arguments, recipe.workers)
    expanded, plain = rows[: len(prompts)], rows[len(prompts) :]
    _log_sheet(run, prompts, expanded)
    read = readings(expanded)
    every = fidelity(prompts, read)
    unseen = fidelity(prompts, read, keep=[prompt.unseen for prompt in prompts])
    valid = sum(expansion_is_valid(p, row["revised_prompt"]) for p, row in zip(prompts, expanded, strict=True))
    return {
        "text_fidelity": rates(every),
        "text_fidelity_unseen": rates(unseen),
        "text_fidelity_seen": rates(fidelity(prompts, read, keep=[not prompt.unseen for prompt in prompts])),
        "intervals": intervals(every),
        "intervals_unseen": intervals(unseen),
        "num_prompts": len(prompts),
        "expander_validity": valid / len(prompts) if recipe.expander else None,
        "controls": {
            "permuted_prompts": rates(fidelity(permuted(prompts, spec.seed), read)),
            "without_expansion": rates(fidelity(control, readings(plain))),
        },
    }


def fidelity_ask(spec: TextFidelity, number: int, prompt: Prompt) -> Ask:
    """The request for a prompt: its shape by turn, its number as its seed; the endpoint is asked the same."""
    width, height = spec.sizes[number % len(spec.sizes)]
    return Ask(prompt=prompt.text, width=width, height=height, seconds=spec.seconds, seed=number)


def _row(spec: TextFidelity, number: int, prompt: Prompt, expand: bool) -> dict[str, Any]:
    ask = fidelity_ask(spec, number, prompt)
    return {"request": ask.model_dump_json(), "expand": expand, "strip": number < 24 and expand}


def _log_sheet(run: Any, prompts: Sequence[Prompt], rows: Sequence[dict[str, Any]]) -> None:
    """Every reading as a table, and film strips of the first videos, into the run."""
    table = []
    for number, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        if row["strip"]:
            run.blob(row["strip"], f"samples/{number:03d}.png")
        kept = {name: row[name] for name in ("revised_prompt", "error", "colour", "shape", "motion", "frames_digest")}
        table.append({"prompt": prompt.text, "named": prompt.named, "unseen": prompt.unseen, **kept})
    run.json(table, "samples.json")

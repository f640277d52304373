"""The report gathered: figures from results, pictures and curves from MLflow, clips from the snapshot."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.local.measure import Meter
from infra.local.stages import FOOTAGE, Choices, snapshot_name

if TYPE_CHECKING:
    from infra.local.ask import Served
    from infra.local.demo import Demo

ROOT = Path(__file__).resolve().parents[2]
DATASET = "s3://reelworks/dataset"
NUM_CLIPS_SHOWN = 12
TRAINING = ("train_vae", "train_captioner", "train_expander", "train_dit")
BANNER = (
    "The captions of your videos come from the shapeworld captioner, which knows only coloured shapes. Put a sidecar "
    "JSON with captions beside each video, or name a captioner: make demo VIDEOS=folder CAPTIONER=hf:org/name."
)
# The least that a run must reach: what the issue of the full demo asks for, and well above chance for the small one.
THRESHOLDS: dict[str, dict[str, float]] = {
    "full": {
        "vae_psnr_db": 25,
        "vae_psnr_in_shape_db": 20,
        "caption_accuracy.macro": 0.90,
        "caption_accuracy.colour": 0.85,
        "caption_accuracy.shape": 0.85,
        "caption_accuracy.motion": 0.85,
        "caption_accuracy.size": 0.85,
        "expander_validity": 0.95,
        "text_fidelity.colour": 0.85,
        "text_fidelity.motion": 0.75,
        "text_fidelity.shape": 0.60,
        "controls.judge_on_vae_reconstructions.colour": 0.97,
        "controls.judge_on_vae_reconstructions.motion": 0.95,
        "controls.judge_on_vae_reconstructions.shape": 0.90,
        "controls.captions_from_captioner": 0.60,
    },
    "ci": {"caption_accuracy.macro": 0.60, "text_fidelity.colour": 0.40},
}
NULL_FIDELITY = {"colour": None, "shape": None, "motion": None}


def collect_figures(demo: Demo, served: Served, meter: Meter, total_seconds: float) -> dict[str, Any]:
    """The content of report.json."""
    results, prepared, footage = demo.results, demo.results["prepare"], demo.results["prepare_footage"]
    evaluated = results["evaluate"]
    controls = {"permuted_prompts": None, "without_expansion": None, **evaluated.get("controls", {})}
    accuracy = evaluated.get("caption_accuracy") or dict.fromkeys(("macro", "colour", "shape", "motion", "size"))
    return {
        "sources": prepared["sources"],
        "quarantined": prepared["quarantined"],
        "clips": prepared["clips"],
        "images": prepared["images"],
        "vae_psnr_db": evaluated["vae_psnr_db"],
        "vae_psnr_in_shape_db": evaluated["vae_psnr_in_shape_db"],
        "caption_accuracy": accuracy,
        "expander_validity": evaluated.get("expander_validity"),
        "text_fidelity": evaluated.get("text_fidelity", NULL_FIDELITY),
        "text_fidelity_unseen": evaluated.get("text_fidelity_unseen", NULL_FIDELITY),
        "text_fidelity_seen": evaluated.get("text_fidelity_seen", NULL_FIDELITY),
        "text_fidelity_endpoint": endpoint_fidelity(served),
        "intervals": evaluated.get("intervals", NULL_FIDELITY),
        "intervals_unseen": evaluated.get("intervals_unseen", NULL_FIDELITY),
        "num_prompts": evaluated.get("num_prompts", 0),
        "controls": controls,
        "real_footage": {
            "shots": footage["shots"],
            "clips": footage["clips"],
            "quarantined": footage["quarantined"],
            "vae_psnr_db": footage["vae_psnr_db"],
        },
        "requests": sum(record["status"] == "completed" for record in served.records),
        "videos": [video_entry(record) for record in served.records],
        "endpoint_ready_seconds": round(served.ready_after_s, 1),
        "steps": {verb: int(results[verb]["steps"]) for verb in TRAINING if "steps" in results.get(verb, {})},
        "stage_seconds": {name: round(seconds, 1) for name, seconds in demo.seconds.items()},
        "cpu_seconds": round(meter.cpu_seconds, 1),
        "peak_pss_bytes": meter.peak_pss_bytes,
        "total_seconds": round(total_seconds, 1),
        "size": demo.choices.size,
    }


def video_entry(record: Mapping[str, Any]) -> dict[str, Any]:
    """One video of the endpoint; its path is relative to the repository's root."""
    path = Path(record["path"])
    return {
        "prompt": record["prompt"],
        "revised_prompt": record.get("revised_prompt"),
        "size": record["size"],
        "seconds": record["seconds"],
        "path": path.relative_to(ROOT).as_posix(),
    }


def endpoint_fidelity(served: Served) -> dict[str, float | None]:
    """What the judge read from the downloaded MP4s, by attribute; null on videos without known truth."""
    from reelworks.evaluate.text_fidelity import fidelity, rates

    return rates(fidelity(served.prompts, served.readings)) if served.prompts else dict(NULL_FIDELITY)


def misses(figures: Mapping[str, Any], choices: Choices) -> list[str]:
    """A line for each figure below its threshold; none are asked of the user's own videos."""
    from reelworks.evaluate.report import flatten

    values = dict(flatten(figures))
    if choices.own_videos:
        return []
    return [
        f"{name} is {values.get(name)}, at least {least:g} expected"
        for name, least in THRESHOLDS[choices.size].items()
        if (values.get(name) or 0) < least
    ]


def write_report(demo: Demo, served: Served, output: Path, meter: Meter, total_seconds: float) -> dict[str, Any]:
    """report.json and report.html with its pictures in `output`; returns the figures."""
    from reelworks.curate.quarantine import read_quarantine
    from reelworks.evaluate.report import Page, render

    figures = collect_figures(demo, served, meter, total_seconds)
    (output / "report.json").write_text(json.dumps(figures, indent=1))
    shown = [
        {**entry, "picture": picture, "page_path": os.path.relpath(ROOT / entry["path"], output)}
        for entry, picture in zip(figures["videos"], video_strips(served, output), strict=True)
    ]
    page = Page(
        figures={**figures, "videos": shown},
        banner=BANNER if uses_shapeworld_captioner(demo.choices) else "",
        clips=snapshot_clips(output, demo.choices),
        quarantine=[record.fields for record in read_quarantine(DATASET)],
        curves=curves(demo),
        pictures=pictures(demo, output),
        links={
            "MLflow": demo.environment["MLFLOW_TRACKING_URI"],
            "Endpoint (its key: .stack/api_key)": f"{served.base_url}/v1",
            "Ray dashboard": demo.environment["RAY_DASHBOARD"],
        },
        replicas=served.replicas,
    )
    (output / "report.html").write_text(render(page))
    return figures


def uses_shapeworld_captioner(choices: Choices) -> bool:
    return choices.own_videos and not choices.own_captions and not choices.captioner


def video_strips(served: Served, output: Path) -> list[str]:
    """A film strip beside each downloaded MP4; paths relative to the page."""
    from reelworks import video
    from reelworks.evaluate.pictures import filmstrip, png

    paths = []
    for record in served.records:
        strip = Path(record["path"]).with_suffix(".png")
        strip.write_bytes(png(filmstrip(video.decode(os.fspath(record["path"])).frames)))
        paths.append(strip.relative_to(output).as_posix())
    return paths


def snapshot_clips(output: Path, choices: Choices) -> list[dict[str, str]]:
    """Some clips of the snapshot, decoded again from the bucket, with all their captions."""
    from reelworks import video
    from reelworks.evaluate.pictures import filmstrip, png

    shown = []
    (output / "clips").mkdir(exist_ok=True)
    rows = snapshot_rows(choices)
    for row in rows[:: max(1, len(rows) // NUM_CLIPS_SHOWN)][:NUM_CLIPS_SHOWN]:
        path = output / "clips" / f"{row['clip_id']}.png"
        span = None if row["num_frames"] == 1 else (row["start_s"], row["end_s"])
        path.write_bytes(png(filmstrip(video.decode(row["source_uri"], span_s=span).frames)))
        captions = {kind: row[f"caption_{kind}"] or "" for kind in ("original", "short", "descriptive")}
        shown.append({"picture": path.relative_to(output).as_posix(), **captions})
    return shown


def snapshot_rows(choices: Choices) -> list[dict[str, Any]]:
    """The rows of the snapshot that the demo committed last."""
    from reelworks.curate.snapshot import read_snapshot

    return read_snapshot(DATASET, f"{snapshot_name(choices)}@latest").clips.to_pylist()


def short_captions(choices: Choices, count: int) -> list[str]:
    """Distinct captions of the user's own clips, the shortest kind that each has, as prompts."""
    rows = snapshot_rows(choices)
    texts = [row["caption_short"] or row["caption_original"] or row["caption_descriptive"] for row in rows]
    return list(dict.fromkeys(text for text in texts if text))[:count]


def curves(demo: Demo) -> dict[str, Sequence[tuple[float, float]]]:
    """The loss of every training run, from MLflow."""
    from reelworks import tracking

    return {
        f"{verb}: loss": tracking.history(demo.results[verb]["run_id"], "loss")
        for verb in TRAINING
        if verb in demo.results
    }


def pictures(demo: Demo, output: Path) -> dict[str, list[str]]:
    """Pictures that the jobs logged, fetched from MLflow: heading -> paths relative to the page."""
    from reelworks import tracking

    wanted = {
        "Reconstructions on shapeworld: original above the VAE's": ("evaluate", "pictures/vae_reconstructions.png"),
        f"Real footage ({FOOTAGE}): clips and captions": ("prepare_footage", "prepare/contact_sheet.png"),
        "Real footage: originals beside the VAE's reconstructions": ("prepare_footage", "prepare/reconstructions.png"),
    }
    found: dict[str, list[str]] = {}
    for heading, (stage, name) in wanted.items():
        data = tracking.artifact(demo.results[stage]["run_id"], name)
        if data is not None:
            path = output / "pictures" / f"{stage}-{Path(name).name}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            found[heading] = [path.relative_to(output).as_posix()]
    return found

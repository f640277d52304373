"""The demo's last stage: the endpoint deployed, asked for videos of known content, and what it gave read back."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import yaml

from infra.local import process
from infra.local.endpoint import (
    Asked,
    deploy,
    make_videos,
    running_port,
    serve_status,
    wait_until_ready,
    watched_replicas,
)
from reelworks.errors import ReelworksError

if TYPE_CHECKING:
    from infra.local.demo import Demo
    from reelworks.shapeworld.prompts import Prompt

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "serving" / "configs" / "laptop.yaml"
READY_WITHIN_S = 180.0


@dataclass
class Served:
    """What came back from the endpoint: one record a video, and the replicas over time."""

    base_url: str
    records: list[dict[str, Any]] = field(default_factory=list)
    readings: list[dict[str, str | None]] = field(default_factory=list)
    prompts: Sequence[Prompt] = ()
    replicas: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    ready_after_s: float = 0.0


def config_with_port(source: Path, target: Path, running: int | None, expands: bool) -> str:
    """Writes the Serve config for loopback, without an expander if there is none; the endpoint's base URL.

    The port is that of a Serve that runs already, which keeps it; else the config's own, or a free one if it is taken.
    """
    config = yaml.safe_load(source.read_text())
    own = int(config["http_options"]["port"])
    port = running or (own if process.is_free(own) else process.free_ports(1)[0])
    config["http_options"] |= {"host": "127.0.0.1", "port": port}
    if not expands:
        config["applications"][0]["args"]["expander"] = None
    target.write_text(yaml.safe_dump(config, sort_keys=False))
    return f"http://127.0.0.1:{port}"


def serve_and_ask(demo: Demo, output: Path, num_videos: int) -> Served:
    """Deploys, waits, asks through the unmodified OpenAI SDK, downloads the MP4s into `output`/videos.

    The first request names nothing but its prompt; the others are those of the evaluation: same prompt, shape, seed.
    """
    from serving.keys import create_key

    dashboard, token = demo.environment["RAY_DASHBOARD"], Path(demo.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    running = running_port(serve_status(dashboard, token))
    config = ROOT / ".stack" / "serve.yaml"
    served = Served(config_with_port(CONFIG, config, running, expands="train_expander" in demo.results))
    key = create_key("s3://reelworks/serving", "demo")
    (ROOT / ".stack" / "api_key").touch(mode=0o600)
    (ROOT / ".stack" / "api_key").write_text(key)
    served.prompts, asked = what_to_ask(demo, num_videos)
    videos = output / "videos"
    videos.mkdir(exist_ok=True)
    with watched_replicas(dashboard, token) as served.replicas:
        deploy(Path(sys.executable).parent / "serve", config, dashboard, demo.environment)
        served.ready_after_s = wait_until_ready(f"{served.base_url}/healthz", READY_WITHIN_S)
        print(f"  the endpoint is ready after {served.ready_after_s:.0f} s: {served.base_url}", flush=True)
        client = openai.OpenAI(base_url=f"{served.base_url}/v1", api_key=key)
        plain = client.videos.create(prompt=asked[0].prompt)
        print(f"  asked for {plain.id} with nothing but a prompt: {plain.size}, {plain.seconds} s", flush=True)
        served.records = make_videos(client, asked, videos)
        if client.videos.poll(plain.id).status != "completed":
            raise ReelworksError(f"the plain request {plain.id} did not complete")
    failed = [record for record in served.records if record["path"] is None]
    if failed:
        raise ReelworksError(f"{len(failed)} of {len(served.records)} videos failed, the first: {failed[0]['error']}")
    if not demo.choices.own_videos:
        served.readings = [read_back(record["path"]) for record in served.records]
    return served


def what_to_ask(demo: Demo, num_videos: int) -> tuple[Sequence[Prompt], list[Asked]]:
    """The evaluation's first prompts with their shapes and seeds; on own videos, captions of the snapshot."""
    from infra.local.gather import short_captions
    from reelworks.config import load_recipe
    from reelworks.evaluate.loop import EvaluateRecipe, fidelity_ask
    from reelworks.shapeworld.prompts import evaluation_prompts

    if demo.choices.own_videos:
        return (), [Asked(text, None, None, seed) for seed, text in enumerate(short_captions(demo.choices, num_videos))]
    spec = load_recipe(EvaluateRecipe, ROOT / "jobs" / "recipes" / "laptop" / "evaluate.yaml").text_fidelity
    assert spec is not None, "the laptop's evaluation has known truth"
    prompts = evaluation_prompts(spec.num_prompts, spec.seed)[:num_videos]
    asks = [fidelity_ask(spec, number, prompt) for number, prompt in enumerate(prompts)]
    return prompts, [Asked(a.prompt, f"{a.width}x{a.height}", f"{a.seconds:g}", a.seed) for a in asks]


def read_back(path: Path) -> dict[str, str | None]:
    """What the judge reads from an MP4 that a client downloaded."""
    from reelworks import video
    from reelworks.shapeworld.judge import judge

    return asdict(judge(video.decode(os.fspath(path)).frames))

"""The demo as a client of the endpoint: deploys it, asks for videos with the OpenAI SDK, watches replicas."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

POLL_S = 0.5


@dataclass(frozen=True)
class Asked:
    """One request: what the user types, and a shape where they name one (None: the model's own default)."""

    prompt: str
    size: str | None
    seconds: str | None
    seed: int


def deploy(serve: Path, config: Path, dashboard_url: str, environment: Mapping[str, str]) -> None:
    """`serve deploy`; raises RuntimeError with the command's own words where it is refused."""
    result = subprocess.run(
        [str(serve), "deploy", str(config), "--address", dashboard_url],
        env=dict(environment),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"serve deploy failed: {(result.stdout + result.stderr).strip()[-2000:]}")


def wait_until_ready(health_url: str, timeout_s: float) -> float:
    """Seconds until the endpoint answers its health check with 200; RuntimeError at the deadline."""
    start, last = time.monotonic(), "no answer"
    while time.monotonic() - start < timeout_s:
        try:
            with urllib.request.urlopen(health_url, timeout=5) as answer:
                if answer.status == 200:
                    return time.monotonic() - start
        except (urllib.error.URLError, OSError) as error:
            last = str(error)
        time.sleep(POLL_S)
    raise RuntimeError(f"the endpoint wasn't ready after {timeout_s:.0f} s: {last}")


def serve_status(dashboard_url: str, token: str) -> dict[str, Any]:
    """Serve's own state of its applications, from the dashboard's REST API."""
    request = urllib.request.Request(
        f"{dashboard_url}/api/serve/applications/", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def running_port(status: Mapping[str, Any]) -> int | None:
    """The HTTP port of a Serve that runs already, None where none does."""
    return int(status["http_options"]["port"]) if status.get("proxies") else None


def running_replicas(status: Mapping[str, Any]) -> dict[str, int]:
    """Deployment -> replicas in state RUNNING."""
    return {
        name: sum(replica["state"] == "RUNNING" for replica in deployment["replicas"])
        for application in status["applications"].values()
        for name, deployment in application["deployments"].items()
    }


@contextmanager
def watched_replicas(dashboard_url: str, token: str, period_s: float = 2.0) -> Iterator[list[tuple[float, dict]]]:
    """A growing list of (seconds since entry, replicas by deployment) while the body runs."""
    samples: list[tuple[float, dict]] = []
    stop, start = threading.Event(), time.monotonic()

    def watch() -> None:
        while True:
            try:
                samples.append((time.monotonic() - start, running_replicas(serve_status(dashboard_url, token))))
            except (urllib.error.URLError, OSError, KeyError):
                pass  # the dashboard is busy: one sample fewer on the chart
            if stop.wait(period_s):
                return

    thread = threading.Thread(target=watch, daemon=True, name="replicas")
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def make_videos(client: openai.OpenAI, asked: Sequence[Asked], folder: Path) -> list[dict[str, Any]]:
    """Creates every video, polls until all have ended, downloads them: one record each, in the order asked.

    A record has the fields of the API's answer, `path` of the MP4 (None unless completed) and the request's seed.
    """
    created = []
    for one in asked:
        shape = {name: value for name, value in (("size", one.size), ("seconds", one.seconds)) if value}
        created.append(client.videos.create(prompt=one.prompt, extra_body={"seed": one.seed}, **shape))  # type: ignore[arg-type]
    records = []
    for number, (one, video) in enumerate(zip(asked, created, strict=True)):
        while video.status in ("queued", "in_progress"):
            time.sleep(POLL_S)
            video = client.videos.retrieve(video.id)
        path = folder / f"{number:03d}.mp4"
        if video.status == "completed":
            client.videos.download_content(video.id).write_to_file(path)
        records.append({**video.model_dump(), "seed": one.seed, "path": path if video.status == "completed" else None})
    return records

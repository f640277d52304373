"""The application on a real Ray Serve: deployed by the command, called by the unmodified SDK, models from MLflow."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import openai
import pytest
import yaml

from infra.local import endpoint, process
from infra.local.stack import Stack
from reelworks import tracking
from serving.keys import create_key
from tests.serving.tiny_models import upload_models

LAPTOP = Path(__file__).parents[2] / "serving" / "configs" / "laptop.yaml"


@dataclass
class Deployed:
    """A running application and how to look at it."""

    url: str
    root: str
    uris: dict[str, str]
    dashboard: str
    token: str

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=create_key(self.root, "test"), max_retries=0)

    def replicas(self) -> dict[str, int]:
        return endpoint.running_replicas(self._status())

    def sampler_pids(self) -> list[int]:
        """Processes of the running sampler replicas."""
        deployments = self._status()["applications"]["reelworks"]["deployments"]
        return [one["pid"] for one in deployments["Sampler"]["replicas"] if one["state"] == "RUNNING"]

    def _status(self) -> dict:
        return endpoint.serve_status(self.dashboard, self.token)


def config_for(root: str, port: int) -> dict:
    """The shipped config with addresses of the test's own and small numbers."""
    config = yaml.safe_load(LAPTOP.read_text())
    config["http_options"]["port"] = port
    args = config["applications"][0]["args"]
    args |= {"root": root, "model": "mlflow:test-dit@champion", "expander": "mlflow:test-expander@champion"}
    args["sampling"] |= {"jobs_per_replica": 6, "lease_s": 5}
    args["sampling"]["replicas"] |= {"upscale_delay_s": 0.5, "downscale_delay_s": 2}
    return config


@pytest.fixture(scope="module")
def deployed(stack: Stack, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("serve")
    prefix = f"s3://reelworks/test/{uuid.uuid4().hex}"
    uris = upload_models(folder, f"{prefix}/models")
    with tracking.start_run("test", "register", {}, {}) as run:
        for name in ("dit", "expander"):
            tracking.register(f"test-{name}", uris[name], run.id)
    environment = {**os.environ, **stack.up(("ray",), say=lambda line: None)}
    token = Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    port = process.free_ports(1)[0]
    config = folder / "serve.yaml"
    config.write_text(yaml.safe_dump(config_for(f"{prefix}/serving", port)))
    url, dashboard = f"http://127.0.0.1:{port}", environment["RAY_DASHBOARD"]
    endpoint.deploy(Path(sys.executable).parent / "serve", config, dashboard, environment)
    endpoint.wait_until_ready(f"{url}/healthz", 120)
    yield Deployed(url, f"{prefix}/serving", uris, dashboard, token)
    process.stop(stack.running()["ray"], seconds=3)


def read_mp4(data: bytes) -> tuple[int, int, int, float]:
    """(frames, width, height, fps) of an MP4."""
    with av.open(io.BytesIO(data), format="mp4") as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(stream)), stream.width, stream.height, float(stream.average_rate)


def test_a_plain_create_gives_an_mp4_of_the_models_own_shape(deployed: Deployed):
    client = deployed.client()
    video = client.videos.create_and_poll(prompt="a red circle")
    assert (video.status, video.error) == ("completed", None)
    assert (video.model, video.model_version, video.size, video.seconds) == ("test-dit", 1, "48x32", "1.125")
    assert read_mp4(client.videos.download_content(video.id).read()) == (9, 48, 32, 8.0)


def test_every_shape_within_the_limits_is_made_exactly(deployed: Deployed):
    client = deployed.client()
    asked = [("64x32", "1", 8), ("32x64", "2.5", 4), ("50x38", "1.5", 12), ("17x64", "0.25", 4)]
    made = [client.videos.create(prompt="x", size=s, seconds=t, extra_body={"fps": fps}) for s, t, fps in asked]
    for (size, seconds, fps), video in zip(asked, made, strict=True):
        assert client.videos.poll(video.id).status == "completed"
        width, height = map(int, size.split("x"))
        frames = round(float(seconds) * fps)
        assert read_mp4(client.videos.download_content(video.id).read()) == (frames, width, height, fps)


def test_the_same_seed_gives_the_same_video_alone_and_among_others(deployed: Deployed):
    client = deployed.client()
    alone = client.videos.create_and_poll(prompt="a red circle", extra_body={"seed": 5})
    together = [client.videos.create(prompt="a red circle", extra_body={"seed": seed}) for seed in (5, 6, 7)]
    data = [client.videos.download_content(client.videos.poll(one.id).id).read() for one in (alone, *together)]
    assert data[0] == data[1] != data[2]


def test_pages_deletion_errors_and_keys_hold_behind_serves_proxy(deployed: Deployed):
    client = deployed.client()
    made = [client.videos.create_and_poll(prompt=f"number {n}").id for n in range(3)]
    assert [video.id for video in client.videos.list(limit=2)] == made[::-1]
    client.videos.delete(made[0])
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(made[0])
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(prompt="x", size="720x1280")
    assert "16–64" in caught.value.message
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0).videos.create(prompt="x")
    headers = {"Idempotency-Key": "order-7"}
    first = client.videos.create(prompt="x", extra_headers=headers)
    assert client.videos.create(prompt="x", extra_headers=headers).id == first.id


def test_the_jobs_of_a_killed_sampler_are_finished_by_the_next_one(deployed: Deployed):
    client = deployed.client()
    made = [client.videos.create(prompt=f"x {n}", extra_body={"steps": 200}).id for n in range(3)]
    while client.videos.retrieve(made[0]).status == "queued":
        time.sleep(0.02)
    for pid in deployed.sampler_pids():
        os.kill(pid, signal.SIGKILL)
    assert {client.videos.poll(one).status for one in made} == {"completed"}


def test_samplers_follow_the_queue_up_and_down_and_lose_no_job(deployed: Deployed):
    client = deployed.client()

    def still(jobs: set[str]) -> set[str]:
        return {one for one in jobs if client.videos.retrieve(one).status in ("queued", "in_progress")}

    made: list[str] = []
    waiting: set[str] = set()
    deadline = time.monotonic() + 180
    # However fast the first sampler is, jobs wait until the second one stands.
    while deployed.replicas().get("Sampler", 0) < 2:
        assert time.monotonic() < deadline, f"one sampler alone for {len(made)} jobs"
        waiting = still(waiting)
        new = [client.videos.create(prompt="x", extra_body={"steps": 120}).id for _ in range(20 - len(waiting))]
        made, waiting = made + new, waiting | set(new)
        time.sleep(0.3)
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} jobs of {len(made)} never end"
        waiting = still(waiting)
        time.sleep(0.3)
    assert {client.videos.retrieve(one).status for one in made} == {"completed"}
    while deployed.replicas()["Sampler"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.5)

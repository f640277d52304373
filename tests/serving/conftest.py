"""An endpoint without Ray: the real API over HTTP, the real store on a real S3, a sampler with an engine by hand."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest
import uvicorn

from reelworks.generate.request import Defaults, Limits, Strides
from serving.api import make_api
from serving.claims import Claims
from serving.endpoint import Endpoint
from serving.keys import KeyRing, create_key
from serving.sampler import Crew
from serving.sampling import SamplingLoop
from serving.served import Served
from serving.store import Store
from tests.serving.fake_engine import FakeEngine
from tests.serving.jobs import PIN

SERVED = Served(
    dit=PIN,
    expander=None,
    limits=Limits(min_size_px=16, max_size_px=64, max_seconds=4, min_fps=4, max_fps=12, max_tokens=400),
    defaults=Defaults(width=48, height=32, seconds=1.5, fps=8, steps=4, guidance=3.0),
    strides=Strides(4, 8, (1, 1, 1)),
)
MAX_BODY_BYTES = 200_000
MAX_PENDING = 5


@dataclass
class Running:
    """What the tests of the API talk to."""

    url: str
    root: str
    engine: FakeEngine
    store: Store

    def new_client(self, **options: object) -> openai.OpenAI:
        """The unmodified SDK with a key of its own."""
        options = {"max_retries": 0, "api_key": create_key(self.root, "test"), **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)


@pytest.fixture(scope="package")
def running(s3_server: str) -> Iterator[Running]:
    root = f"s3://reelworks/test/{uuid.uuid4().hex}"
    engine = FakeEngine()
    crew = Crew(
        Claims(Store(root), "sampler", 10.0, max_losses=3),
        lambda record: f"{record.asked.prompt} on a smooth background",
        lambda frames, fps: frames.tobytes(),
        max_jobs=8,
        poll_s=0.05,
    )
    loop = SamplingLoop(crew, lambda pin: engine, stall_s=60.0)
    loop.start(lambda: None)
    crew.start()
    endpoint = Endpoint(Store(root), KeyRing(root), lambda: SERVED, MAX_PENDING)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = make_api(endpoint, MAX_BODY_BYTES, poll_after_ms=50)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", root, engine, Store(root))
        server.should_exit = True
        thread.join(10)
    crew.stop(0.0)
    loop.stop()


@pytest.fixture
def paused(running: Running) -> Iterator[Running]:
    """The sampler waits: jobs stay unfinished while the test looks at them."""
    running.engine.may_step.clear()
    yield running
    running.engine.may_step.set()


@pytest.fixture
def client(running: Running) -> openai.OpenAI:
    return running.new_client()

"""The three Ray Serve deployments: thin shells around parts that know nothing of Ray."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ray import serve
from ray.serve.handle import DeploymentHandle

from serving.record import JobRecord, ModelPin
from serving.settings import ExpanderArgs, IngressArgs, SamplerArgs

if TYPE_CHECKING:
    from fastapi import FastAPI

    from reelworks.models.expander import Expander as Model

logger = logging.getLogger("ray.serve")

# The ingress writes what it resolved a moment after it starts; workers look for it meanwhile.
LOOK_EVERY_S = 0.25
VERSIONS_AT_HAND = 2


@serve.ingress()
class Ingress:
    """HTTP; every replica answers for every job."""

    def __init__(self, root: str, args: IngressArgs, model: str, expander: str | None, sampler: DeploymentHandle):
        from serving.endpoint import Endpoint
        from serving.keys import KeyRing
        from serving.served import Watch
        from serving.store import Store
        from serving.sweep import Sweeper

        self._args = args
        self._sampler = sampler  # not called: jobs go through the bucket; the handle ties the deployments together
        store = Store(root)
        self._watch = Watch(root, model, expander, args.refresh_s)
        self._watch.start()
        self._sweeper = Sweeper(store, args.sweep_s)
        self._sweeper.start()
        self._endpoint = Endpoint(store, KeyRing(root), self._watch.current, args.max_pending_per_key)

    def __serve_build_asgi_app__(self) -> FastAPI:
        from serving.api import make_api

        return make_api(self._endpoint, self._args.max_body_bytes, self._args.poll_after_ms)

    def __del__(self) -> None:
        self._watch.stop()
        self._sweeper.stop()


class Expander:
    """Short prompts to descriptive ones; a function of (prompt, seed, model version)."""

    def __init__(self, root: str, args: ExpanderArgs):
        import torch

        import reelworks.models.expander  # noqa: F401  its seconds of imports are paid before the first prompt
        from serving.served import read_served

        if args.num_threads:
            torch.set_num_threads(args.num_threads)
        self._models: OrderedDict[ModelPin, Model] = OrderedDict()
        self._lock = threading.Lock()  # the models are not thread-safe
        deadline = time.monotonic() + args.start_timeout_s
        while (served := read_served(root)) is None and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        if served and served.expander:
            self._model(served.expander)

    async def expand(self, prompt: str, seed: int, pin: ModelPin) -> str | None:
        """The descriptive prompt; None where the model's answer is of no use."""
        return await asyncio.to_thread(self._expand, prompt, seed, pin)

    def _expand(self, prompt: str, seed: int, pin: ModelPin) -> str | None:
        with self._lock:
            (answer,) = self._model(pin).expand([prompt], seed)
        return None if answer == prompt else answer

    def _model(self, pin: ModelPin) -> Model:
        """The version that a job was accepted for; while the alias moves, two are at hand."""
        import torch

        from reelworks.models.expander import Expander as Model
        from reelworks.resolve import resolve_model

        if pin not in self._models:
            if len(self._models) == VERSIONS_AT_HAND:
                self._models.popitem(last=False)
            folder = resolve_model(pin.source).path
            self._models[pin] = Model(folder, "cuda" if torch.cuda.is_available() else "cpu")
        return self._models[pin]


class Sampler:
    """Makes the queue's videos; serves no requests, so its event loop is always free."""

    def __init__(self, root: str, args: SamplerArgs, expander: DeploymentHandle | None):
        from reelworks.generate.export import to_mp4
        from serving.claims import Claims
        from serving.engine import open_pipeline
        from serving.sampler import Crew
        from serving.sampling import SamplingLoop
        from serving.served import read_served
        from serving.store import Store

        self._args = args
        claims = Claims(Store(root), f"sampler-{secrets.token_hex(6)}", args.lease_s, args.max_losses)

        def expand(record: JobRecord) -> str | None:
            if expander is None or record.expander is None:
                return None
            answer = expander.expand.remote(record.asked.prompt, record.asked.seed, record.expander)
            return answer.result(timeout_s=args.expand_timeout_s)

        self._crew = Crew(claims, expand, to_mp4, args.max_jobs, args.poll_s)
        self._loop = SamplingLoop(self._crew, lambda pin: open_pipeline(pin, args.num_threads), args.stall_s)
        self._loop.start(lambda: served.dit if (served := read_served(root)) else None)
        self._crew.start()

    def check_health(self) -> None:
        """Serve's probe: raises where only a new replica helps."""
        self._loop.check_health()

    async def __del__(self) -> None:
        await asyncio.to_thread(self._crew.stop, self._args.drain_s)
        self._loop.stop()

"""The three Ray Serve deployments: thin shells around parts that know nothing of Ray."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING

from ray import serve
from ray.serve.handle import DeploymentHandle

from serving.settings import ExpanderArgs, IngressArgs, SamplerArgs

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger("ray.serve")

# The ingress writes what it resolved a moment after it starts; workers look for it meanwhile.
LOOK_EVERY_S = 0.25


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
        self._sweeper = Sweeper(store, args.sweep_s)
        self._sweeper.start()
        self._endpoint = Endpoint(store, KeyRing(root), lambda: self._watch.current, args.max_pending_per_key)

    def __serve_build_asgi_app__(self) -> FastAPI:
        from serving.api import make_api

        return make_api(self._endpoint, self._args.max_body_bytes, self._args.poll_after_ms)

    def __del__(self) -> None:
        self._watch.stop()
        self._sweeper.stop()


class Expander:
    """Short prompts to descriptive ones; a function of (prompt, seed)."""

    def __init__(self, root: str, args: ExpanderArgs):
        import torch

        from reelworks.models.expander import Expander as Model
        from reelworks.resolve import resolve_model
        from serving.served import read_served

        if args.num_threads:
            torch.set_num_threads(args.num_threads)
        deadline = time.monotonic() + args.start_timeout_s
        while (served := read_served(root)) is None or served.expander is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no expander was resolved in {args.start_timeout_s:.0f} s; see the ingress's log")
            time.sleep(LOOK_EVERY_S)
        pin = served.expander
        folder = resolve_model(pin.source).path
        self._model = Model(folder, "cuda" if torch.cuda.is_available() else "cpu")
        self._lock = threading.Lock()  # the model is not thread-safe

    async def expand(self, prompt: str, seed: int) -> str | None:
        """The descriptive prompt; None where the model's answer is of no use."""
        return await asyncio.to_thread(self._expand, prompt, seed)

    def _expand(self, prompt: str, seed: int) -> str | None:
        with self._lock:
            (answer,) = self._model.expand([prompt], seed)
        return None if answer == prompt else answer


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
        claims = Claims(Store(root), f"sampler-{secrets.token_hex(6)}", args.lease_s, args.max_attempts)

        def expand(prompt: str, seed: int) -> str | None:
            assert expander is not None
            return expander.expand.remote(prompt, seed).result(timeout_s=args.expand_timeout_s)

        self._crew = Crew(claims, expand if expander else None, to_mp4, args.max_jobs, args.poll_s)
        self._loop = SamplingLoop(self._crew, lambda pin: open_pipeline(pin, args.num_threads), args.stall_s)
        self._loop.start(lambda: served.dit if (served := read_served(root)) else None)
        self._crew.start()

    def check_health(self) -> None:
        """Serve's probe: raises where only a new replica helps."""
        self._loop.check_health()

    async def __del__(self) -> None:
        await asyncio.to_thread(self._crew.stop, self._args.drain_s)
        self._loop.stop()

"""A step engine by hand: one step is one step, frames are grey; told to, it fails or waits."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field

import numpy as np

from reelworks.generate.request import GenerationRequest
from serving.engine import News


@dataclass
class FakeEngine:
    """Frames' grey level is the request's seed modulo 256; a prompt with POISON breaks the step that it is in."""

    room: int = 100
    active: dict[str, tuple[GenerationRequest, int]] = field(default_factory=dict)
    together: list[set[str]] = field(default_factory=list)
    """Prompts of each step."""
    may_step: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_step.set()

    def has_room(self, request: GenerationRequest) -> bool:
        return len(self.active) < self.room

    def admit(self, request: GenerationRequest) -> str:
        name = uuid.uuid4().hex
        self.active[name] = (request, 0)
        return name

    def step(self) -> list[News]:
        self.may_step.wait(10)
        self.together.append({request.prompt for request, _ in self.active.values()})
        if any("POISON" in request.prompt for request, _ in self.active.values()):
            raise RuntimeError("the device is unhappy")
        news = []
        for name, (request, done) in list(self.active.items()):
            done += 1
            self.active[name] = (request, done)
            frames = None
            if done == request.steps:
                del self.active[name]
                shape = (request.num_frames, request.height, request.width, 3)
                frames = np.full(shape, request.seed % 256, np.uint8)
            news.append(News(name, done / request.steps, frames))
        return news

    def evict(self, name: str) -> None:
        self.active.pop(name, None)

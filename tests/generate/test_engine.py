from dataclasses import replace

import numpy as np
import pytest
import torch

from reelworks.errors import UserError
from reelworks.generate.engine import StepEngine
from reelworks.generate.export import fit
from reelworks.generate.pipeline import VideoPipeline
from reelworks.generate.request import Defaults, GenerationRequest, Limits
from reelworks.models.dit import DiT, DiTConfig
from reelworks.models.vae import CausalVAE, VAEConfig

LIMITS = Limits(min_size_px=8, max_size_px=64, max_seconds=4.0, min_fps=4.0, max_fps=24.0, max_tokens=200)
REQUEST = GenerationRequest("a", 30, 17, 1.3, 8.0, seed=3, steps=3, guidance=2.0)
OTHERS = [
    GenerationRequest("b", 16, 16, 0.1, 8.0, seed=1, steps=5, guidance=1.0),
    GenerationRequest("c", 24, 40, 1.0, 12.0, seed=2, steps=2, guidance=4.0),
]


def text(seed: int) -> torch.Tensor:
    return torch.randn(3 + seed, 6, generator=torch.Generator().manual_seed(seed))


def new_engine(solver: str = "heun") -> StepEngine:
    torch.manual_seed(0)
    dit = DiT(DiTConfig(channels=4, width=24, layers=2, heads=2, text_width=6, text_rank=4))
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return StepEngine(dit.eval(), LIMITS, 20.0, solver)


def finish(engine: StepEngine, name: str) -> torch.Tensor:
    while True:
        for event in engine.step():
            if event.id == name and event.latents is not None:
                return event.latents


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_request_gives_the_same_latents_whoever_joins_and_leaves_beside_it(solver: str) -> None:
    alone = new_engine(solver)
    expected = finish(alone, alone.admit(REQUEST, text(0)))
    crowd = new_engine(solver)
    first = crowd.admit(OTHERS[0], text(1))
    crowd.step()
    name = crowd.admit(REQUEST, text(0))
    crowd.step()
    crowd.evict(first)
    crowd.admit(OTHERS[1], text(2))
    assert torch.allclose(finish(crowd, name), expected, atol=1e-5)


def test_an_evicted_request_goes_on_elsewhere_as_if_it_had_stayed() -> None:
    stays, leaves, takes_over = new_engine(), new_engine(), new_engine()
    expected = finish(stays, stays.admit(REQUEST, text(0)))
    name = leaves.admit(REQUEST, text(0))
    leaves.step()
    leaves.step()
    state = leaves.evict(name)
    assert leaves.step() == []
    assert torch.allclose(finish(takes_over, takes_over.resume(state)), expected, atol=1e-6)


def test_seed_prompt_and_guidance_each_change_the_video() -> None:
    engine = new_engine()
    changed = [REQUEST, replace(REQUEST, seed=4), replace(REQUEST, guidance=1.0)]
    videos = [finish(engine, engine.admit(request, text(0))) for request in changed]
    videos.append(finish(engine, engine.admit(REQUEST, text(1))))
    for i, one in enumerate(videos):
        assert all(not torch.allclose(one, other, atol=1e-3) for other in videos[:i])


def test_a_request_outside_the_limits_never_enters() -> None:
    engine = new_engine()
    with pytest.raises(UserError, match="width 1000"):
        engine.admit(replace(REQUEST, width=1000), text(0))
    assert engine.active == {}


def test_progress_counts_every_step_once() -> None:
    engine = new_engine("euler")
    name = engine.admit(REQUEST, text(0))
    events = [event for _ in range(3) for event in engine.step()]
    assert [(event.id, event.finished, event.total) for event in events] == [(name, i, 3) for i in (1, 2, 3)]
    assert [event.latents is not None for event in events] == [False, False, True]


def test_videos_have_exactly_the_frames_and_size_asked_in_the_order_asked() -> None:
    engine = new_engine("euler")
    torch.manual_seed(0)
    vae = CausalVAE(
        VAEConfig(channels=(4, 4, 4), encoder_blocks=(0, 0, 0), decoder_blocks=(0, 0, 0), latent_channels=4)
    )
    pipeline = VideoPipeline(engine, vae.eval(), None, Defaults(16, 16, 1.0, 8.0, 2, 1.0))
    requests = [REQUEST, *OTHERS]
    seen: list[tuple[int, int]] = []
    videos = pipeline.generate_from_states(
        requests, [text(i) for i in range(3)], progress=lambda done, total: seen.append((done, total))
    )
    assert [video.shape for video in videos] == [(10, 17, 30, 3), (1, 16, 16, 3), (12, 40, 24, 3)]
    assert all(video.dtype == np.uint8 for video in videos) and seen == [(1, 3), (2, 3), (3, 3)]
    alone = pipeline.generate_from_states([OTHERS[1]], [text(2)])[0]
    assert np.abs(alone.astype(int) - videos[2].astype(int)).max() <= 1


def test_the_crop_is_central_and_cuts_the_end() -> None:
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    request = GenerationRequest("", 4, 2, 0.125, 8.0)
    assert np.array_equal(fit(frames, request), frames[:1, 1:3, 1:5])
    with pytest.raises(ValueError, match="don't cover"):
        fit(frames, replace(request, width=7))

from dataclasses import replace

import torch

from reelworks.models.dit import Block, DiT, DiTConfig, PackedBatch, architecture

CONFIG = DiTConfig(channels=4, width=24, layers=2, heads=2, text_width=6, text_rank=4)


def random_dit() -> DiT:
    """A network whose zero-initialised parts are random too."""
    torch.manual_seed(0)
    dit = DiT(CONFIG)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return dit.eval()


def pack(videos: list[tuple[int, int, float]]) -> PackedBatch:
    """Random videos of (tokens, text tokens, timestep); each depends on its own numbers alone."""
    parts = []
    for length, text_length, t in videos:
        generator = torch.Generator().manual_seed(length * 100 + text_length)
        tokens, places = torch.randn(length, 4, generator=generator), torch.randn(length, 3, generator=generator)
        parts.append((tokens, places, torch.randn(text_length, 6, generator=generator), t))
    lengths = [length for length, _, _ in videos]
    return PackedBatch(
        tokens=torch.cat([part[0] for part in parts]),
        positions=torch.cat([part[1] for part in parts]),
        video_lengths=lengths,
        segment_lengths=lengths,
        timestep=torch.tensor([part[3] for part in parts]),
        known=torch.zeros(len(parts), dtype=torch.bool),
        video_of_segment=torch.arange(len(parts)),
        text=torch.cat([part[2] for part in parts]),
        text_lengths=[text_length for _, text_length, _ in videos],
    )


VIDEOS = [(6, 3, 0.2), (6, 3, 0.9), (10, 1, 0.5), (1, 4, 0.7)]


@torch.no_grad()
def test_a_pack_gives_what_its_videos_give_one_by_one() -> None:
    dit = random_dit()
    packed = dit(pack(VIDEOS))
    alone = torch.cat([dit(pack([video])) for video in VIDEOS])
    assert torch.allclose(packed, alone, atol=1e-5)


@torch.no_grad()
def test_nothing_of_a_video_reaches_another_one_in_its_pack() -> None:
    dit, batch = random_dit(), pack(VIDEOS)
    before = dit(batch)
    tokens, text, timestep = batch.tokens.clone(), batch.text.clone(), batch.timestep.clone()
    tokens[12:22] += 1.0
    text[6:7] += 1.0
    timestep[2] = 0.1
    after = dit(replace(batch, tokens=tokens, text=text, timestep=timestep))
    assert torch.equal(before[:12], after[:12]) and torch.equal(before[22:], after[22:])
    assert (before[12:22] - after[12:22]).abs().min(dim=1).values.max() > 0


def test_a_fresh_network_is_the_identity_in_its_blocks_and_zero_at_its_end() -> None:
    torch.manual_seed(0)
    dit, batch = DiT(CONFIG), pack(VIDEOS)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for block in dit.blocks:
        assert isinstance(block, Block)
        block.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    assert torch.equal(dit(batch), torch.zeros(23, 4))
    assert len(seen) == 2 and all(torch.equal(before, after) for before, after in seen)


def test_every_parameter_that_a_batch_uses_gets_a_gradient() -> None:
    dit, batch = random_dit(), pack(VIDEOS)
    dit(replace(batch, known=torch.tensor([True, False, False, False]))).square().sum().backward()
    without = [name for name, parameter in dit.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


@torch.no_grad()
def test_segments_of_one_video_have_their_own_timesteps_and_see_each_other() -> None:
    dit, batch = random_dit(), pack([(10, 2, 0.5)])
    split = replace(
        batch,
        segment_lengths=[4, 6],
        timestep=torch.tensor([0.0, 0.5]),
        known=torch.tensor([True, False]),
        video_of_segment=torch.tensor([0, 0]),
    )
    as_one = replace(split, timestep=torch.tensor([0.5, 0.5]), known=torch.tensor([False, False]))
    assert torch.allclose(dit(as_one), dit(batch), atol=1e-6)
    assert not torch.allclose(dit(split)[4:], dit(batch)[4:], atol=1e-4)


def test_the_architecture_survives_json() -> None:
    assert DiTConfig(**architecture(CONFIG)) == CONFIG


def test_captions_are_told_apart_evenly_after_adapting_to_them() -> None:
    generator = torch.Generator().manual_seed(0)
    loud, quiet = torch.randn(2, 6, generator=generator)
    captions = []
    for index in range(40):
        # Two independent attributes, one thirty times as strong in the encoder's states as the other.
        offset = 10.0 * (index % 2) * loud + 0.3 * (index // 2 % 2) * quiet
        captions.append(3.0 + offset + 1e-4 * torch.randn(5, 6, generator=generator))
    dit = DiT(CONFIG)
    dit.adapt_to_captions(captions)
    pooled = torch.stack([one.mean(0) for one in captions]) - dit.pooled_mean
    white = pooled @ dit.pooled_whitening
    labels = torch.arange(40)
    apart = [(white[label == 1].mean(0) - white[label == 0].mean(0)).norm() for label in (labels % 2, labels // 2 % 2)]
    raw = [(pooled[label == 1].mean(0) - pooled[label == 0].mean(0)).norm() for label in (labels % 2, labels // 2 % 2)]
    assert raw[0] > 10 * raw[1] and apart[0] < 5 * apart[1]

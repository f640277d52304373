"""The optimisation of a VAE: it learns, it obeys its budget, it survives a bad batch."""

import torch

from reelworks.models.vae import CausalVAE, VAEConfig
from reelworks.train.vae_loss import VAELossWeights
from reelworks.train.vae_optimize import Autoencoding, VAETraining, make_optimizers, optimize

TINY = VAEConfig(channels=(8, 16, 16), encoder_blocks=(0, 1, 1), decoder_blocks=(0, 1, 1), latent_channels=4)


def moving_bar() -> torch.Tensor:
    """(2, 3, 5, 16, 16): a bright bar that moves right, and its negative."""
    pixels = torch.full((3, 5, 16, 16), -0.5)
    for t in range(5):
        pixels[:, t, :, 2 * t : 2 * t + 4] = 0.8
    return torch.stack([pixels, -pixels])


def trained(steps: int, batches=None, minutes: float = 60.0) -> tuple[list[dict[str, float]], int, CausalVAE]:
    torch.manual_seed(0)
    vae, reports = CausalVAE(TINY), []
    spec = VAETraining(steps=steps, max_minutes=minutes, warmup_steps=5, log_steps=10)
    model = Autoencoding(vae, VAELossWeights())
    taken = optimize(model, batches or moving_bar, spec, lambda step, values: reports.append({"step": step, **values}))
    return reports, taken, vae


def test_a_tiny_network_learns_one_batch() -> None:
    reports, taken, _ = trained(steps=60)
    assert taken == 60 and [report["step"] for report in reports] == [10, 20, 30, 40, 50, 60]
    assert reports[-1]["loss"] < 0.4 * reports[0]["loss"]
    assert reports[-1]["psnr_db"] > reports[0]["psnr_db"] + 5


def test_training_ends_when_the_minutes_are_spent_and_says_so() -> None:
    reports, taken, _ = trained(steps=10**6, minutes=0.5 / 60)
    assert 0 < taken < 10**6
    assert reports[-1]["step"] == taken and reports[-1]["progress"] == 1


def test_equal_seeds_give_equal_weights() -> None:
    first, second = trained(steps=3)[2].state_dict(), trained(steps=3)[2].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_batch_that_is_not_finite_is_skipped_and_counted() -> None:
    count = iter(range(100))

    def batches() -> torch.Tensor:
        return moving_bar() * (float("nan") if next(count) == 4 else 1.0)

    reports, taken, vae = trained(steps=10, batches=batches)
    assert taken == 10 and reports[-1]["skipped_steps"] == 1
    assert all(torch.isfinite(parameter).all() for parameter in vae.parameters())


def test_every_parameter_has_one_optimizer() -> None:
    parameters = list(CausalVAE(TINY).parameters())
    optimizers = make_optimizers(parameters, VAETraining(steps=1, max_minutes=1))
    held = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, parameters))

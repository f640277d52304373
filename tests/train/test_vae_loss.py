"""The VAE's loss, against closed forms."""

import math

import pytest
import torch

from reelworks.train.vae_loss import (
    VAELossWeights,
    kl_divergence,
    psnr,
    sample_latents,
    spatial_difference,
    vae_loss,
)


def only(**weights: float) -> VAELossWeights:
    return VAELossWeights.model_validate({"l1": 0, "l2": 0, "gradient": 0, "motion": 0, "kl": 0} | weights)


def loss_of(error: torch.Tensor, weights: VAELossWeights) -> float:
    latents = torch.zeros(1, 2, 1, 1, 1)
    return float(vae_loss(error, torch.zeros_like(error), latents, latents, weights))


def test_pixel_terms_are_mean_absolute_and_mean_squared_error() -> None:
    error = torch.full((1, 3, 1, 4, 4), 0.5)
    assert loss_of(error, only(l1=2.0)) == pytest.approx(1.0)
    assert loss_of(error, only(l2=2.0)) == pytest.approx(0.5)


def test_the_gradient_term_sees_edges_and_no_constant_shift() -> None:
    flat, ramp = torch.full((1, 3, 1, 4, 4), 0.5), torch.arange(4.0).expand(1, 3, 1, 4, 4)
    assert loss_of(flat, only(gradient=1.0)) == 0
    assert float(spatial_difference(ramp)) == pytest.approx(1.0)
    # At half size the ramp's steps are 2: (1 + 2) / 2.
    assert loss_of(ramp, only(gradient=1.0)) == pytest.approx(1.5)


def test_the_motion_term_sees_flicker_and_passes_over_images() -> None:
    flicker = torch.tensor([0.0, 1.0, 0.0])[None, None, :, None, None].expand(1, 3, 3, 4, 4)
    assert loss_of(flicker, only(motion=1.0)) == pytest.approx(1.0)
    assert loss_of(flicker[:, :, 1:2], only(motion=1.0)) == 0


def test_kl_is_zero_at_the_prior_and_follows_the_closed_form() -> None:
    zeros = torch.zeros(2, 3)
    assert float(kl_divergence(zeros, zeros)) == 0
    expected = 0.5 * (1.5**2 + 0.25 - 1 - math.log(0.25))
    assert float(kl_divergence(torch.full((5,), 1.5), torch.full((5,), math.log(0.25)))) == pytest.approx(expected)


def test_samples_have_the_mean_and_deviation_of_the_posterior() -> None:
    mean, logvar = torch.full((20_000,), 3.0), torch.full((20_000,), 2 * math.log(0.5))
    sample = sample_latents(mean, logvar, torch.Generator().manual_seed(0))
    assert float(sample.mean()) == pytest.approx(3.0, abs=0.02)
    assert float(sample.std()) == pytest.approx(0.5, abs=0.02)


def test_psnr_of_a_known_error_and_inside_a_mask() -> None:
    target = torch.zeros(1, 3, 1, 4, 4)
    output = target.clone()
    output[..., 0] = 0.2  # a quarter of the pixels
    assert psnr(output, target) == pytest.approx(10 * math.log10(4 / 0.01), abs=1e-3)
    mask = torch.zeros(1, 1, 1, 4, 4, dtype=torch.bool)
    mask[..., 0] = True
    assert psnr(output, target, mask) == pytest.approx(20.0, abs=1e-3)
    assert psnr(torch.full_like(target, 7.0), torch.ones_like(target)) == psnr(target + 1, torch.ones_like(target))

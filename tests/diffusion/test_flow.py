import pytest
import torch

from reelworks.diffusion import flow
from reelworks.diffusion.guidance import guide
from reelworks.diffusion.timesteps import logit_normal, schedule, shift, shift_factor


def test_the_true_velocity_gives_back_the_data_from_anywhere_on_the_path() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    t = torch.rand(7, 1, generator=generator, dtype=torch.float64)
    x, v = flow.interpolate(clean, noise, t), flow.velocity(clean, noise)
    assert torch.allclose(flow.clean_estimate(x, v, t), clean, atol=1e-12)
    assert torch.equal(flow.interpolate(clean, noise, torch.zeros(1, 1, dtype=torch.float64)), clean)
    assert torch.equal(flow.interpolate(clean, noise, torch.ones(1, 1, dtype=torch.float64)), noise)


def test_weights_decide_what_a_token_counts_and_the_sum_over_packs_is_the_mean_over_all() -> None:
    predicted, target = torch.zeros(4, 2), torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [0.0, 2.0]])
    weight = torch.full((4,), 0.25)
    whole = flow.loss(predicted, target, weight)
    parts = flow.loss(predicted[:1], target[:1], weight[:1]) + flow.loss(predicted[1:], target[1:], weight[1:])
    assert float(whole) == pytest.approx((1 + 4 + 9 + 2) / 4) == pytest.approx(float(parts))


def test_guidance_of_one_is_the_conditional_and_more_goes_beyond_it() -> None:
    conditional, null = torch.tensor([2.0]), torch.tensor([1.0])
    assert guide(conditional, null, 1.0).item() == 2.0
    assert guide(conditional, null, 3.0).item() == 4.0


def test_more_tokens_shift_the_schedule_towards_noise_within_bounds() -> None:
    assert shift_factor(400, 100.0) == pytest.approx(2.0)
    assert shift_factor(10, 100.0) == 1.0
    assert shift_factor(10**9, 100.0) == 12.0


def test_the_schedule_runs_from_noise_to_data_and_the_shift_keeps_its_ends() -> None:
    times = schedule(8, 3.0)
    assert times[0] == 1.0 and times[-1] == 0.0 and (times[1:] < times[:-1]).all()
    assert float(shift(torch.tensor(0.5), 3.0)) == pytest.approx(0.75)


def test_training_timesteps_have_their_median_where_the_recipe_says() -> None:
    assert float(logit_normal(torch.zeros(1), 0.0, 1.0)) == 0.5
    assert float(logit_normal(torch.zeros(1), 1.0, 2.0)) == pytest.approx(0.7310586)

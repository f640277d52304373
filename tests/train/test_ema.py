import torch

from reelworks.train.ema import PowerEMA


def test_the_average_follows_the_power_profile_and_forgets_the_start() -> None:
    weight = torch.zeros(1)
    ema = PowerEMA([weight], exponent=1.0)
    # (1 − 1/t)^(γ+1): the profile weighs step t by t^γ, so after n steps the average of t is about 2n/3.
    for step in range(1, 301):
        weight.fill_(step)
        ema.update(step)
    assert 198 < ema.average[0].item() < 203


def test_exchanging_twice_changes_nothing_and_once_puts_the_average_in() -> None:
    weight = torch.tensor([1.0, 2.0])
    ema = PowerEMA([weight], exponent=1.0)
    ema.update(1)
    weight.copy_(torch.tensor([5.0, 6.0]))
    ema.exchange()
    assert weight.tolist() == [1.0, 2.0] and ema.average[0].tolist() == [5.0, 6.0]
    ema.exchange()
    assert weight.tolist() == [5.0, 6.0] and ema.average[0].tolist() == [1.0, 2.0]


def test_a_saved_average_goes_on_where_it_stopped() -> None:
    weight = torch.tensor([1.0])
    ema, other = PowerEMA([weight], 2.0), PowerEMA([weight], 2.0)
    for step in range(1, 5):
        weight.add_(1)
        ema.update(step)
    other.load({name: tensor.clone() for name, tensor in ema.state().items()})
    weight.add_(1)
    ema.update(5)
    other.update(5)
    assert torch.equal(ema.average[0], other.average[0])

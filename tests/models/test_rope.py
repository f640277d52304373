import torch

from reelworks.models.rope import axis_sizes, latent_times_s, positions, rotary, rotate


def test_time_is_the_mean_of_the_frames_that_a_latent_covers() -> None:
    # Frames 0 | 1 2 3 4 | 5 6 7 8 at 8 frames a second.
    assert latent_times_s(3, 8.0, 4).tolist() == [0.0, 2.5 / 8, 6.5 / 8]


def test_one_moment_has_one_coordinate_at_every_frame_rate() -> None:
    slow = positions((4, 1, 1), (1, 1, 1), latent_times_s(4, 8.0, 4), 8.0)[:, 0]
    fast = positions((10, 1, 1), (1, 1, 1), latent_times_s(10, 24.0, 4), 8.0)[:, 0]
    # A frame rate that is three times as high reaches the same second after three times as many frames.
    assert torch.allclose(slow[3], (8.0 * torch.tensor(10.5 / 8.0)))
    assert slow[2] < fast[6] < slow[3] < fast[9] + 1.0


def test_the_centre_keeps_its_coordinates_when_the_frame_is_cropped() -> None:
    large = positions((1, 4, 6), (1, 1, 1), torch.zeros(1), 8.0).reshape(4, 6, 3)
    small = positions((1, 2, 4), (1, 1, 1), torch.zeros(1), 8.0).reshape(2, 4, 3)
    assert torch.equal(large[1:3, 1:5], small)


def test_attention_scores_depend_on_differences_of_positions_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 24, generator=generator)
    place, other = torch.tensor([[1.5, 2.0, -1.0]]), torch.tensor([[4.0, 0.5, 3.0]])
    shift = torch.tensor([[7.0, -3.0, 2.5]])

    def score(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (rotate(q, *rotary(a, 24, 100.0)) * rotate(k, *rotary(b, 24, 100.0))).sum(-1)

    assert torch.allclose(score(place, other), score(place + shift, other + shift), atol=1e-5)
    assert not torch.allclose(score(place, other), score(place + shift, other), atol=1e-2)


def test_rotation_keeps_the_norm() -> None:
    x = torch.randn(5, 2, 32, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, *rotary(torch.randn(5, 3), 32, 100.0))
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)


def test_every_axis_has_its_share_of_a_head() -> None:
    for size in (8, 12, 32, 64, 128):
        assert sum(axis_sizes(size)) == size
        assert all(part > 0 and part % 2 == 0 for part in axis_sizes(size))

"""Muon's update, against the singular value decomposition and against the usual form of its iteration."""

import pytest
import torch

from reelworks.train.muon import QUINTIC, ROUNDS, Muon, orthogonalised


def usual_form(matrix: torch.Tensor) -> torch.Tensor:
    a, b, c = QUINTIC
    x = matrix / matrix.norm()
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8), (1, 5)])
def test_singular_values_come_near_1_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert found.shape == shape and values.min() > 0.5 and values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    rotated = left.T @ found @ right.T
    torch.testing.assert_close(rotated, torch.diag(rotated.diag()), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(16, 144), (16, 20), (16, 16)])
def test_iterating_on_the_gram_matrix_gives_what_iterating_on_the_matrix_gives(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalised(matrix), usual_form(matrix), atol=1e-4, rtol=0)


def test_a_convolution_moves_by_the_learning_rate_in_every_direction() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 6, 1, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) * 1e-4
    Muon([weight], lr=0.1).step()
    values = torch.linalg.svdvals(weight.detach().flatten(1)) / 0.1
    assert values.min() > 0.5 and values.max() < 1.3


def test_weights_decay_by_the_learning_rate() -> None:
    weights = [torch.nn.Parameter(torch.eye(3)) for _ in range(2)]
    for weight, decay in zip(weights, (0.0, 0.5), strict=True):
        weight.grad = torch.ones(3, 3)
        Muon([weight], lr=0.1, weight_decay=decay).step()
    torch.testing.assert_close(weights[0] - weights[1], 0.05 * torch.eye(3))


def test_a_parameter_without_a_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2, 1, 1, 1))
    Muon([weight], lr=0.1).step()
    assert torch.equal(weight.detach(), torch.ones_like(weight))

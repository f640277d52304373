"""Muon's update, against the singular value decomposition and against the usual form of its iteration."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from reelworks.train.muon import QUINTIC, ROUNDS, Muon, orthogonalised, shares


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


def test_ranks_share_the_work_and_end_with_what_one_rank_computes(tmp_path: Path) -> None:
    alone = trained_weights()
    rendezvous = f"file://{tmp_path}/rendezvous"
    multiprocessing.spawn(save_trained_weights, (rendezvous, tmp_path), nprocs=2)
    for rank in range(2):
        for weight, wanted in zip(torch.load(tmp_path / f"{rank}.pt"), alone, strict=True):
            torch.testing.assert_close(weight, wanted)


def save_trained_weights(rank: int, rendezvous: str, folder: Path) -> None:
    dist.init_process_group("gloo", rendezvous, rank=rank, world_size=2)
    torch.save(trained_weights(), folder / f"{rank}.pt")
    dist.destroy_process_group()


def trained_weights() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((4, 6, 3), (12, 4), (9, 9))]
    muon = Muon(weights, lr=0.1)
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        muon.step()
    return [weight.detach() for weight in weights]


def test_every_rank_gets_about_as_much_to_do() -> None:
    matrices = [torch.zeros(shape) for shape in ((320, 320), (96, 288), (96, 288), (96, 96), (288, 96))]
    assert shares(matrices, 2) == [0, 1, 1, 1, 1]
    assert set(shares(matrices[1:], 4)) == {0, 1, 2, 3}


def test_a_parameter_without_a_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2, 1, 1, 1))
    Muon([weight], lr=0.1).step()
    assert torch.equal(weight.detach(), torch.ones_like(weight))

import pytest
import torch

from reelworks.models.patch import patchify, token_grid, unpatchify


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 2), (3, 2, 1)])
def test_unpatchify_gives_back_every_latent_in_its_place(patch: tuple[int, int, int]) -> None:
    latents = torch.arange(5 * 3 * 4 * 6).reshape(5, 3, 4, 6).float()
    tokens = patchify(latents, patch)
    grid = token_grid(tuple(latents.shape), patch)
    assert len(tokens) == grid[0] * grid[1] * grid[2]
    assert torch.equal(unpatchify(tokens, grid, patch), latents)


def test_a_token_holds_one_patch_and_tokens_run_by_time_row_and_column() -> None:
    latents = torch.arange(2 * 2 * 2).reshape(1, 2, 2, 2).float()
    assert patchify(latents, (1, 1, 1))[:, 0].tolist() == list(range(8))
    assert patchify(latents, (1, 2, 2)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_latents_that_the_patch_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of the patch"):
        patchify(torch.zeros(1, 1, 3, 4), (1, 2, 2))

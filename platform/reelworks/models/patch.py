"""Latents to tokens and back.

Legend: C latent channels, T H W latent frames, rows, columns; L tokens; P numbers in a token.
"""

from torch import Tensor

Grid = tuple[int, int, int]
"""Tokens along time, rows and columns."""
Patch = tuple[int, int, int]
"""Latents that one token covers along time, rows and columns."""


def token_grid(shape: tuple[int, ...], patch: Patch) -> Grid:
    """Grid of tokens for latents of shape (C, T, H, W); ValueError unless the patch divides it."""
    sizes = shape[-3:]
    if any(size % p for size, p in zip(sizes, patch, strict=True)):
        raise ValueError(f"latents of {sizes} (T, H, W) are not a multiple of the patch {patch}")
    t, h, w = (size // p for size, p in zip(sizes, patch, strict=True))
    return t, h, w


def patchify(latents: Tensor, patch: Patch) -> Tensor:
    """(C, T, H, W) → (L, P), tokens in the order time, row, column; P = C × the patch's volume."""
    t, h, w = token_grid(tuple(latents.shape), patch)
    pt, ph, pw = patch
    x = latents.reshape(latents.shape[0], t, pt, h, ph, w, pw)
    return x.permute(1, 3, 5, 0, 2, 4, 6).reshape(t * h * w, -1)


def unpatchify(tokens: Tensor, grid: Grid, patch: Patch) -> Tensor:
    """(L, P) → (C, T, H, W), the inverse of `patchify`."""
    (t, h, w), (pt, ph, pw) = grid, patch
    x = tokens.reshape(t, h, w, -1, pt, ph, pw)
    return x.permute(3, 0, 4, 1, 5, 2, 6).reshape(-1, t * pt, h * ph, w * pw)

"""Attention over packed sequences: no token sees another sequence's tokens.

Legend: L query tokens of all sequences, M key tokens of all sequences, N heads, K head size.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

BACKENDS = ("loop", "varlen", "dense_mask")


def default_backend(device: torch.device) -> str:
    """`varlen` (flash attention) where it has a kernel; a loop of SDPA calls is the fastest exact way on a CPU."""
    return "varlen" if device.type == "cuda" else "loop"


def packed_attention(
    q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int], backend: str
) -> Tensor:
    """Attention of q (L, N, K) to k, v (M, N, K), sequence i of the queries to sequence i of the keys → (L, N, K)."""
    if len(q_lengths) != len(k_lengths) or sum(q_lengths) != len(q) or sum(k_lengths) != len(k):
        raise ValueError(f"lengths {sum(q_lengths)}, {sum(k_lengths)} do not cover {len(q)} queries, {len(k)} keys")
    if backend == "loop":
        return _loop(q, k, v, q_lengths, k_lengths)
    if backend == "varlen":
        return _varlen(q, k, v, q_lengths, k_lengths)
    if backend == "dense_mask":
        return _dense_mask(q, k, v, q_lengths, k_lengths)
    raise ValueError(f"unknown attention backend {backend!r}, expected one of {BACKENDS}")


def _loop(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """One SDPA call for each run of neighbours with equal lengths; equal lengths need no padding to be a batch."""
    outputs = []
    q_start = k_start = 0
    for (q_length, k_length), run in groupby(zip(q_lengths, k_lengths, strict=True)):
        count = len(list(run))
        q_end, k_end = q_start + count * q_length, k_start + count * k_length
        out = F.scaled_dot_product_attention(
            q[q_start:q_end].unflatten(0, (count, q_length)).transpose(1, 2),
            k[k_start:k_end].unflatten(0, (count, k_length)).transpose(1, 2),
            v[k_start:k_end].unflatten(0, (count, k_length)).transpose(1, 2),
        )
        outputs.append(out.transpose(1, 2).flatten(0, 1))
        q_start, k_start = q_end, k_end
    return torch.cat(outputs)


def _varlen(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    # Imported here: the module exists in every supported torch, but its kernels are CUDA's alone.
    from torch.nn.attention.varlen import varlen_attn

    half = q.dtype if q.dtype in (torch.float16, torch.bfloat16) else torch.bfloat16
    q_offsets, k_offsets = _offsets(q_lengths, q.device), _offsets(k_lengths, k.device)
    out = varlen_attn(q.to(half), k.to(half), v.to(half), q_offsets, k_offsets, max(q_lengths), max(k_lengths))
    assert isinstance(out, Tensor)  # a tuple only where more was asked for
    return out.to(q.dtype)


def _dense_mask(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """The oracle: every query against every key, with a mask. Quadratic in the pack; for tests."""
    mask = torch.zeros(len(q), len(k), dtype=torch.bool, device=q.device)
    q_bounds, k_bounds = _bounds(q_lengths), _bounds(k_lengths)
    for (q_start, q_end), (k_start, k_end) in zip(pairwise(q_bounds), pairwise(k_bounds), strict=True):
        mask[q_start:q_end, k_start:k_end] = True
    out = F.scaled_dot_product_attention(q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), attn_mask=mask)
    return out.transpose(0, 1)


def _bounds(lengths: Sequence[int]) -> list[int]:
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    return bounds


def _offsets(lengths: Sequence[int], device: torch.device) -> Tensor:
    return torch.tensor(_bounds(lengths), dtype=torch.int32, device=device)

import pytest
import torch

from reelworks.models.attention import packed_attention

Q_LENGTHS, K_LENGTHS = [3, 3, 5, 1], [2, 2, 4, 7]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(sum(Q_LENGTHS), 2, 8, generator=generator)
    k, v = torch.randn(2, sum(K_LENGTHS), 2, 8, generator=generator)
    return q, k, v


def test_the_loop_equals_the_masked_oracle() -> None:
    q, k, v = inputs()
    loop = packed_attention(q, k, v, Q_LENGTHS, K_LENGTHS, "loop")
    assert torch.allclose(loop, packed_attention(q, k, v, Q_LENGTHS, K_LENGTHS, "dense_mask"), atol=1e-6)


@pytest.mark.parametrize("backend", ["loop", "dense_mask"])
def test_no_sequence_sees_another_ones_keys_nor_gets_its_gradients(backend: str) -> None:
    q, k, v = inputs()
    before = packed_attention(q, k, v, Q_LENGTHS, K_LENGTHS, backend)
    changed_k, changed_v = k.clone(), v.clone()
    changed_k[4:8] += 1.0
    changed_v[4:8] -= 1.0
    after = packed_attention(q, changed_k, changed_v, Q_LENGTHS, K_LENGTHS, backend)
    assert torch.equal(before[:6], after[:6]) and torch.equal(before[11:], after[11:])
    assert not torch.allclose(before[6:11], after[6:11])
    v.requires_grad_()
    packed_attention(q, k, v, Q_LENGTHS, K_LENGTHS, backend)[:6].sum().backward()
    assert v.grad is not None and v.grad[:4].abs().min() > 0 and v.grad[4:].abs().max() == 0


def test_lengths_that_miss_tokens_are_refused() -> None:
    q, k, v = inputs()
    with pytest.raises(ValueError, match="do not cover"):
        packed_attention(q, k, v, [3, 3, 5], [2, 2, 4], "loop")

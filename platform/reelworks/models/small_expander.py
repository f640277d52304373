"""An expander from nothing: a small Llama and its tokenizer."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reelworks.config import Section
from reelworks.models.tokenizer import END, PAD, token_id, train_tokenizer


class ExpanderSize(Section):
    """Shape of an expander that is trained from scratch."""

    width: int = 128
    """Width of the network."""
    depth: int = 3
    """Blocks."""
    num_heads: int = 4
    """Attention heads."""
    vocabulary: int = 512
    """Most tokens of the tokenizer."""
    init_std: float = 0.08
    """Standard deviation of new weights: near 1/√width. The usual 0.02 is for widths of thousands and starts slowly."""
    max_tokens: int = 1024
    """Longest conversation."""


def create_expander(folder: Path, size: ExpanderSize, texts: Iterable[str], seed: int) -> None:
    """Write an untrained expander, tokenizer included, as an ordinary Transformers folder."""
    plain = set(texts)
    # As they are asked and as they are answered; `question_ids` wraps a prompt like this.
    tokenizer = train_tokenizer(plain | {json.dumps({"prompt": text}) for text in plain}, size.vocabulary)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        initializer_range=size.init_std,
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        max_position_embeddings=size.max_tokens,
        bos_token_id=None,
        eos_token_id=token_id(tokenizer, END),
        pad_token_id=token_id(tokenizer, PAD),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

"""Token states of a frozen text encoder: T5, BERT (MiniLM), CLIP's text half or a causal language model, by one path.

Legend: B texts, L tokens of a text, D width.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from reelworks.errors import UserError


class TextEncoder:
    """Texts to the last hidden states of their tokens, special tokens included: 1:1, (L, D) float32 on the CPU.

    Each text goes through the network alone by default: with padding, the rounding of its states depends on its
    neighbours, and the bytes that are stored would depend on how the batches fell. `batch_size` > 1 gives that up
    for speed. Truncated at `max_tokens`. Raises UserError where the folder holds no model with a tokenizer.
    """

    def __init__(
        self, path: Path | str, max_tokens: int = 256, device: str | torch.device = "cpu", batch_size: int = 1
    ) -> None:
        try:
            config = AutoConfig.from_pretrained(path)
            # T5's AutoModel is encoder and decoder; the text-encoding classes are the encoders alone.
            loader = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
            model = loader.from_pretrained(path, dtype=dtype)
        except (OSError, ValueError) as error:
            hint = "give a Transformers folder with config.json, model.safetensors and a tokenizer"
            raise UserError(f"no text encoder in {path}: {error}", hint) from error
        self.device = torch.device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self.width: int = config.get_text_config().hidden_size
        if self.tokenizer.pad_token_id is None:
            # Padding is masked out, so any token will do.
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """(L, D) float32 for each text, L ≥ 1 also for the empty one; equal texts are computed once."""
        distinct = list(dict.fromkeys(texts))
        ids = [self._token_ids(text) for text in distinct]
        states: dict[str, Tensor] = {}
        for start in range(0, len(distinct), self.batch_size):
            group = slice(start, start + self.batch_size)
            states.update(zip(distinct[group], self._forward(ids[group]), strict=True))
        return [states[text] for text in texts]

    def _token_ids(self, text: str) -> list[int]:
        ids = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
        # Tokenizers that add no special tokens give none for the empty text; the null text needs one.
        return ids or [self.tokenizer.pad_token_id]

    @torch.inference_mode()
    def _forward(self, ids: list[list[int]]) -> list[Tensor]:
        longest = max(map(len, ids))
        tokens = torch.full((len(ids), longest), self.tokenizer.pad_token_id)  # (B, L)
        mask = torch.zeros_like(tokens)  # (B, L)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
        out = self.model(input_ids=tokens.to(self.device), attention_mask=mask.to(self.device))
        states = out.last_hidden_state.float().cpu()  # (B, L, D)
        return [states[row, : len(one)].clone() for row, one in enumerate(ids)]

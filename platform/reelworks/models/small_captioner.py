"""A captioner from nothing: a small Qwen2-VL whose temporal patches join all frames, and its tokenizer."""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from reelworks.config import Section
from reelworks.models.clip_captioner import PROMPTS
from reelworks.models.tokenizer import END, PAD, VIDEO, VISION_END, VISION_START, token_id, train_tokenizer
from reelworks.models.vision_input import VisionLayout

# Positions here are tens, not thousands: with the usual 10,000 most rotary pairs would hardly turn.
ROPE_THETA = 100.0
PROMPT_COPIES = 200


class CaptionerSize(Section):
    """Shape of a captioner that is trained from scratch."""

    patch_px: int = 4
    """Side of a patch in pixels: 4 to 6 where shapes of a dozen pixels must be told apart."""
    temporal_patch: int = 4
    """Frames that a patch joins; all frames of a clip in one patch is what lets motion be learned in minutes."""
    max_pixels: int = 1536
    """Larger frames are scaled down to this, smaller ones keep their size."""
    vision_width: int = 96
    """Width of the vision tower."""
    vision_depth: int = 3
    """Blocks of the vision tower."""
    text_width: int = 128
    """Width of the language model."""
    text_depth: int = 3
    """Blocks of the language model."""
    num_heads: int = 4
    """Attention heads of both."""
    vocabulary: int = 512
    """Most tokens of the tokenizer."""
    init_std: float = 0.08
    """Standard deviation of new weights: near 1/√width. The usual 0.02 is for widths of thousands and starts slowly."""


def create_captioner(folder: Path, size: CaptionerSize, num_frames: int, captions: Iterable[str], seed: int) -> None:
    """Write an untrained captioner, tokenizer included, as an ordinary Transformers folder."""
    # Prompts stand in every example: as often as captions, so that each of their words becomes one token.
    texts = [*set(captions), *(list(PROMPTS.values()) * PROMPT_COPIES)]
    tokenizer = train_tokenizer(texts, size.vocabulary, (VISION_START, VIDEO, VISION_END))
    ids = {name: token_id(tokenizer, name) for name in (PAD, END, VIDEO, VISION_START, VISION_END)}
    pairs = size.text_width // size.num_heads // 2  # rotary pairs of a head, dealt to time, rows and columns
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": size.text_width,
            "intermediate_size": 3 * size.text_width,
            "initializer_range": size.init_std,
            "num_hidden_layers": size.text_depth,
            "num_attention_heads": size.num_heads,
            "num_key_value_heads": size.num_heads,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROPE_THETA,
                "mrope_section": [pairs - 2 * (3 * pairs // 8), 3 * pairs // 8, 3 * pairs // 8],
            },
            "bos_token_id": None,
            "eos_token_id": ids[END],
            "pad_token_id": ids[PAD],
        },
        vision_config={
            "initializer_range": size.init_std,
            "depth": size.vision_depth,
            "embed_dim": size.vision_width,
            "hidden_size": size.text_width,
            "num_heads": size.num_heads,
            "mlp_ratio": 3,
            "patch_size": size.patch_px,
            "temporal_patch_size": size.temporal_patch,
            "spatial_merge_size": 2,
            "rope_parameters": {"rope_type": "axial", "rope_theta": ROPE_THETA},
        },
        video_token_id=ids[VIDEO],
        image_token_id=len(tokenizer),  # no token: clips of one frame are videos here
        vision_start_token_id=ids[VISION_START],
        vision_end_token_id=ids[VISION_END],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids[END]
    model.generation_config.pad_token_id = ids[PAD]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    VisionLayout(
        patch_size=size.patch_px,
        temporal_patch_size=size.temporal_patch,
        merge_size=2,
        min_pixels=(2 * size.patch_px) ** 2,
        max_pixels=size.max_pixels,
        num_frames=num_frames,
    ).save(folder)

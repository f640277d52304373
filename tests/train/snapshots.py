"""A small snapshot with random latents and captions, written as `prepare` writes one, and the models that it needs."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from reelworks import schema, storage
from reelworks.models.latent_stats import LatentStats
from reelworks.models.vae import CausalVAE, VAEConfig

TEXT_WIDTH, CHANNELS = 8, 4


def write_snapshot(root: str, num_clips: int) -> None:
    """Commit snapshot `world` number 1 of clips of 1, 5 or 9 frames, 16 or 24 px wide."""
    data, rows = b"", []
    for index in range(num_clips):
        rng = np.random.default_rng(index)
        frames, columns = 1 + 4 * (index % 3), 2 + index % 2
        arrays = {
            "latents": rng.standard_normal((CHANNELS, 1 + index % 3, 2, columns), dtype=np.float32),
            "text.descriptive": rng.standard_normal((4 + index % 2, TEXT_WIDTH), dtype=np.float32),
        }
        tensors = []
        for name, array in arrays.items():
            span = array.tobytes()
            place = {"uri": f"{root}/pack", "offset": len(data), "length": len(span)}
            about = {"shape": list(array.shape), "dtype": "float32", "digest": hashlib.sha256(span).hexdigest()}
            tensors.append({"name": name, "frame_start": None, "frame_end": None, **place, **about})
            data += span
        rows.append(_row(index, frames, columns, tensors))
    storage.create_once(f"{root}/pack", data)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema.CLIP), buffer)
    part = buffer.getvalue()
    storage.create_once(f"{root}/part", part)
    manifest = {"parent": None, "parts": [{"key": "part", "digest": hashlib.sha256(part).hexdigest()}]}
    storage.create_once(f"{root}/snapshots/world/1.json", json.dumps(manifest).encode())


def _row(index: int, frames: int, columns: int, tensors: list[dict[str, object]]) -> dict[str, object]:
    width, height = 8 * columns, 16
    return {
        "clip_id": f"clip-{index:03d}",
        "source_id": "source",
        "source_uri": "s3://raw/source",
        "source_etag": "etag",
        "start_s": 0.0,
        "end_s": frames / 8,
        "width": width,
        "height": height,
        "native_width": width,
        "native_height": height,
        "native_fps": 8.0,
        "native_num_frames": frames,
        "fps": 8.0,
        "num_frames": frames,
        "num_tokens": (1 + index % 3) * 2 * columns,
        "caption_original": "red ball",
        "caption_descriptive": "a red circle",
        "scores": [],
        "tensors": tensors,
    }


def write_vae(folder: Path) -> Path:
    """An untrained VAE."""
    torch.manual_seed(0)
    vae = CausalVAE(
        VAEConfig(channels=(4, 4, 4), encoder_blocks=(0, 0, 0), decoder_blocks=(0, 0, 0), latent_channels=CHANNELS)
    )
    vae.stats = LatentStats.identity(CHANNELS)
    return vae.save(folder)


def write_text_encoder(folder: Path) -> Path:
    """An untrained encoder of a few words."""
    words = {word: i for i, word in enumerate(("[UNK]", "[PAD]", "a", "red", "circle", "moves", "left"))}
    tokenizer = Tokenizer(WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=TEXT_WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(folder)
    return folder

"""Random checkpoints of a few thousand weights, committed to the bucket as the jobs commit theirs."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from reelworks import storage
from reelworks.models.checkpoint import write_checkpoint
from reelworks.models.dit import DiT, DiTConfig
from reelworks.models.small_expander import ExpanderSize, create_expander
from reelworks.models.tokenizer import train_tokenizer
from reelworks.models.vae import CausalVAE, VAEConfig
from reelworks.resolve import pin

TEXTS = ["a red circle moves left", "A large blue square stays still. The camera is fixed."]
ARCHITECTURE = {"channels": 4, "width": 16, "layers": 1, "heads": 2, "text_width": 16}
LIMITS = {"min_size_px": 16, "max_size_px": 64, "max_seconds": 3, "min_fps": 4, "max_fps": 12, "max_tokens": 400}
DEFAULTS = {"width": 48, "height": 32, "seconds": 1.125, "fps": 8, "steps": 4, "guidance": 2.0}


def upload_models(folder: Path, prefix: str) -> dict[str, str]:
    """Makes a VAE, a text encoder, an expander and a DiT that names the first two; their folders in the bucket."""
    torch.manual_seed(0)
    uris = {name: f"{prefix}/{name}" for name in ("vae", "text", "expander", "dit")}
    config = VAEConfig(channels=(8, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), latent_channels=4)
    vae = CausalVAE(config)
    vae.save(folder / "vae")
    _text_encoder(folder / "text")
    create_expander(folder / "expander", ExpanderSize(width=16, depth=1, num_heads=2, vocabulary=300), TEXTS, seed=0)
    for name in ("vae", "text", "expander"):
        storage.upload_folder(folder / name, uris[name])
    dit = DiT(DiTConfig(**ARCHITECTURE))
    write_checkpoint(folder / "dit", _dit_config(uris, vae), dit.state_dict(), dit.state_dict())
    storage.upload_folder(folder / "dit", uris["dit"])
    return uris


def _text_encoder(folder: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, 300, ())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _dit_config(uris: dict[str, str], vae: CausalVAE) -> dict:
    def named(name: str) -> dict[str, str]:
        source, _, digest = pin(uris[name]).partition("#")
        return {"source": source, "uri": uris[name], "digest": digest}

    return {
        "model": "dit",
        "architecture": DiT(DiTConfig(**ARCHITECTURE)).config.__dict__,
        "latent_stats": vars(vae.stats),
        "vae": named("vae"),
        "text_encoder": {**named("text"), "max_tokens": 32},
        "limits": LIMITS,
        "defaults": DEFAULTS,
        "reference_tokens": 48,
        "solver": "euler",
    }

"""A checkpoint is one folder: config.json and safetensors files, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reelworks.errors import UserError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
EMA_FILE = "ema.safetensors"


def write_checkpoint(
    folder: Path, config: dict[str, Any], weights: dict[str, Tensor], ema: dict[str, Tensor] | None = None
) -> Path:
    """Write config.json (sorted: equal content is equal bytes), model.safetensors and, if given, ema.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in ((WEIGHTS_FILE, weights), (EMA_FILE, ema)):
        if tensors is not None:
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, folder / name)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    return folder


def read_config(folder: Path, model: str | None = None) -> dict[str, Any]:
    """config.json of a checkpoint folder. Raises UserError if there is none or it is of another kind than `model`."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{folder} is not a checkpoint folder: it has no {CONFIG_FILE}", "give the folder a job wrote")
    config = json.loads(path.read_text())
    if model is not None and config.get("model") != model:
        raise UserError(f"{folder} is a checkpoint of {config.get('model')!r}, expected {model!r}", "name another one")
    return config


def read_weights(folder: Path, device: torch.device | str = "cpu", name: str = WEIGHTS_FILE) -> dict[str, Tensor]:
    """The tensors of one safetensors file of a checkpoint folder. Raises UserError if it is missing or broken."""
    path = folder / name
    if not path.is_file():
        raise UserError(f"{folder} is not a whole checkpoint folder: it has no {name}", "give the folder a job wrote")
    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read: {error}", "copy or train the checkpoint again") from error

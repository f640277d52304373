"""Named tensors in one safetensors object, and where each of them lies in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reelworks import storage

if TYPE_CHECKING:
    import torch

# Our one metadata key: with more than one, safetensors writes them in the order of a hash that differs by process.
ABOUT = "reelworks"
# A header of a chunk's object fits; a larger one costs a second request.
HEAD_BYTES = 64 << 10


# Headers use safetensors' short names, rows NumPy's.
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def pack(tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> bytes:
    """A safetensors file that is the same for the same content; `about` (JSON) and digests stand in its header."""
    from safetensors.torch import save

    digests = {name: hashlib.sha256(raw_bytes(tensor)).hexdigest() for name, tensor in tensors.items()}
    text = json.dumps({**about, "digests": digests}, sort_keys=True, separators=(",", ":"))
    return bytes(save({name: tensors[name].contiguous() for name in sorted(tensors)}, {ABOUT: text}))


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """A tensor's elements in row-major order, little endian, as safetensors stores them."""
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def read_header(uri: str) -> bytes:
    """The first bytes of a stored object, with its whole header."""
    head = storage.get_bytes(uri, start=0, length=HEAD_BYTES)
    length = 8 + int.from_bytes(head[:8], "little")
    return head if len(head) >= length else storage.get_bytes(uri, start=0, length=length)


def locate(uri: str, data: bytes) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """(tensor name -> shape, dtype, uri, offset, length, digest; the object's about) from an object's first bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = json.loads(header.pop("__metadata__")[ABOUT])
    places = {}
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        places[name] = {
            "shape": entry["shape"],
            "dtype": DTYPES[entry["dtype"]],
            "uri": uri,
            "offset": 8 + length + start,
            "length": stop - start,
            "digest": about["digests"][name],
        }
    return places, about

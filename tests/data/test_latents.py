import hashlib

import numpy as np
import pytest
import torch

from reelworks import storage
from reelworks.data.latents import TensorReader, TensorRef, example, merge
from reelworks.errors import StorageError


def stored(prefix: str) -> tuple[list[TensorRef], list[np.ndarray]]:
    """Three tensors in one object, with rubbish between them."""
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * i for i in range(3)]
    data, refs = b"head", []
    for array in arrays:
        span = array.tobytes()
        digest = hashlib.sha256(span).hexdigest()
        refs.append(TensorRef(f"{prefix}/pack", len(data), len(span), (2, 3), "float32", digest))
        data += span + b"gap"
    storage.create_once(f"{prefix}/pack", data)
    return refs, arrays


def test_tensors_come_back_from_their_byte_ranges(prefix: str) -> None:
    refs, arrays = stored(prefix)
    for memory_bytes in (0, 10**6):
        reader = TensorReader(refs, memory_bytes)
        for ref, array in zip(refs, arrays, strict=True):
            assert np.array_equal(reader.get(ref).numpy(), array)
        reader.forget(refs)
        assert bool(reader.pending) is (memory_bytes > 0)


def test_bytes_that_are_not_the_snapshots_are_refused(prefix: str) -> None:
    refs, _ = stored(prefix)
    wrong = TensorRef(refs[0].uri, refs[0].offset + 1, refs[0].length, (2, 3), "float32", refs[0].digest)
    with pytest.raises(StorageError, match="differ from the snapshot"):
        TensorReader([wrong], 0).get(wrong)


def test_neighbours_are_one_request_and_distant_or_foreign_spans_are_not() -> None:
    def ref(uri: str, offset: int) -> TensorRef:
        return TensorRef(uri, offset, 100, (25,), "float32", "")

    near, next_to_it, far, other = ref("s3://b/a", 0), ref("s3://b/a", 200), ref("s3://b/a", 10**7), ref("s3://b/z", 0)
    assert merge([other, far, next_to_it, near, near]) == [[near, next_to_it], [far], [other]]


def test_a_row_gives_its_latents_and_its_captions_by_kind() -> None:
    def tensor(name: str, shape: list[int]) -> dict[str, object]:
        return {
            "name": name,
            "uri": "s3://b/a",
            "offset": 0,
            "length": 4,
            "shape": shape,
            "dtype": "float32",
            "digest": "x",
        }

    row = {
        "clip_id": "c",
        "fps": 8.0,
        "tensors": [tensor("latents", [8, 3, 4, 4]), tensor("tail_1", [8, 1, 4, 4]), tensor("text.short", [5, 6])],
    }
    found = example(row)
    assert (found.clip_id, found.fps, found.latents.shape) == ("c", 8.0, (8, 3, 4, 4))
    assert set(found.texts) == {"short"} and found.texts["short"].shape == (5, 6)


def test_bfloat16_tensors_are_read(prefix: str) -> None:
    span = torch.tensor([1.5, -2.0], dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes()
    storage.create_once(f"{prefix}/half", span)
    ref = TensorRef(f"{prefix}/half", 0, 4, (2,), "bfloat16", hashlib.sha256(span).hexdigest())
    assert TensorReader([ref], 0).get(ref).tolist() == [1.5, -2.0]

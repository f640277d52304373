"""Models that give a frame a number: an aesthetic, a safety or any other classifier, and how much text is in it.

Legend: N frames, H W rows and columns, L labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    AutoTokenizer,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING

from reelworks.errors import UserError

# Shorter side, in pixels, that the text detector sees: captions and watermarks of a 20th of the picture stay legible.
TEXT_SIDE_PX = 480
# What the recogniser has to read in a box, and the mean confidence in its characters: birds, cups and windows are read
# as one character, at up to 0.96. Between 0.3 and 0.7 the confidence decided about none of 177 frames.
TEXT_CHARACTERS, TEXT_CONFIDENCE = 2, 0.5


class FrameScorer(Protocol):
    """What a score model is to the rest of the platform."""

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        """A score (N,) for each of the frames uint8 (N, H, W, 3)."""


class LabelScorer:
    """The probability of one label by a Transformers folder; raises UserError where the folder can't give it.

    An image classifier has its labels in its config. CLIP and SigLIP classes take any text: CLIP gives its
    probability against the other texts, SigLIP, trained with a sigmoid, that of the text alone.
    """

    def __init__(
        self, path: Path | str, label: str, against: Sequence[str] = (), device: str | torch.device = "cpu"
    ) -> None:
        dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
        try:
            config = AutoConfig.from_pretrained(path)
            # Its sizes and means; the PIL backend is there without torchvision, and the same everywhere.
            self.processor = AutoImageProcessor.from_pretrained(path, backend="pil")
            by_text = _reads_text(config)
            auto = AutoModelForZeroShotImageClassification if by_text else AutoModelForImageClassification
            model, about = auto.from_pretrained(path, dtype=dtype, use_safetensors=True, output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(path) if by_text else None
        except (OSError, ValueError) as error:
            hint = "give a Transformers folder of an image classifier, or of a CLIP or SigLIP class"
            raise UserError(f"no score model in {path}: {error}", hint) from error
        if about["missing_keys"]:
            # Transformers fills them at random and goes on: scores that look like any others, and say nothing.
            lacks = ", ".join(sorted(about["missing_keys"])[:3])
            raise UserError(f"{path} lacks weights of a {type(model).__name__}: {lacks}", "name a trained score model")
        self.model = model.eval().requires_grad_(False).to(device)
        self.device, self.dtype = torch.device(device), dtype
        self.sigmoid = by_text and config.model_type.startswith("siglip")
        self.index = 0 if by_text else self._index_of(label, config.id2label, against)
        self.texts: dict[str, torch.Tensor] = {}
        if tokenizer is not None:
            if not against and not self.sigmoid:
                raise UserError(f"{label!r} alone has probability 1 for a CLIP class", "name other texts in `against`")
            # SigLIP saw nothing but texts filled up to its full length.
            fill = "max_length" if self.sigmoid else True
            longest = config.text_config.max_position_embeddings
            # It saw lower case alone, and its filling unmasked: its answer stands at the last place, filled or not.
            texts = [text.lower() if self.sigmoid else text for text in (label, *against)]
            found = tokenizer(texts, padding=fill, truncation=True, max_length=longest, return_tensors="pt")
            read = ("input_ids",) if self.sigmoid else ("input_ids", "attention_mask")
            self.texts = {name: found[name].to(device) for name in read if name in found}

    @staticmethod
    def _index_of(label: str, labels: dict[int, str], against: Sequence[str]) -> int:
        if against:
            raise UserError("a classifier's labels are fixed, so `against` can't be given", "leave `against` out")
        for index, name in labels.items():
            if name == label:
                return int(index)
        raise UserError(f"the score model has no label {label!r}", f"choose one of {', '.join(labels.values())}")

    @torch.inference_mode()
    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        images = [Image.fromarray(frame) for frame in frames]
        pixels = self.processor(images=images, return_tensors="pt")["pixel_values"]  # (N, 3, H, W)
        out = self.model(pixel_values=pixels.to(self.device, self.dtype), **self.texts)
        logits = (out.logits_per_image if self.texts else out.logits).float()  # (N, L)
        shares = torch.sigmoid(logits) if self.sigmoid else torch.softmax(logits, dim=-1)  # (N, L)
        return shares[:, self.index].cpu().numpy().astype(np.float64)


def _reads_text(config: Any) -> bool:
    """Whether the folder compares pictures with texts; a classifier that was trained on top of such a class doesn't."""
    labelled = any(name.endswith("ForImageClassification") for name in config.architectures or ())
    return type(config) in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING and not labelled


class TextAreaScorer:
    """The share of a frame that text covers, by the package rapidocr-onnxruntime (PP-OCRv4).

    What its detector marks counts where its recogniser also reads it: of 51 frames without text the detector alone saw
    some on 20 in over a hundredth of the picture, both together on none; of 126 with text burnt in, 116 and 113.
    Raises UserError where the package or its models are missing.
    """

    def __init__(self, path: Path | str, threads: int = 1) -> None:
        try:
            from rapidocr_onnxruntime.ch_ppocr_det import TextDetector
            from rapidocr_onnxruntime.ch_ppocr_rec import TextRecognizer
        except ImportError as error:
            raise UserError("the text detector's package is missing", "pip install 'reelworks[ocr]'") from error
        session = {"use_cuda": False, "use_dml": False, "intra_op_num_threads": threads, "inter_op_num_threads": 1}
        detector = {"limit_side_len": TEXT_SIDE_PX, "limit_type": "min", "mean": [0.5] * 3, "std": [0.5] * 3}
        # One box a call: beside others it would be filled up to the widest, and its reading would depend on theirs.
        recognizer = {"rec_img_shape": [3, 48, 320], "rec_batch_num": 1}
        self.detector = TextDetector({**session, **detector, "model_path": _text_model(path, "det")})
        self.recognizer = TextRecognizer({**session, **recognizer, "model_path": _text_model(path, "rec")})

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array([self._share(frame) for frame in frames])

    def _share(self, frame: NDArray[np.uint8]) -> float:
        covered = Image.new("1", (frame.shape[1], frame.shape[0]))
        for box in self._boxes(frame):
            text, confidence = self._read(frame, box)
            if len(text.strip()) >= TEXT_CHARACTERS and confidence >= TEXT_CONFIDENCE:
                ImageDraw.Draw(covered).polygon([tuple(corner) for corner in box.tolist()], fill=1)
        return float(np.asarray(covered).mean())

    def _boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Corners (N, 4, 2) in pixels, clockwise from the upper left, of what may be lines of text."""
        boxes, _ = self.detector(np.ascontiguousarray(frame[..., ::-1]))  # the models were trained on BGR
        return np.zeros((0, 4, 2), np.float32) if boxes is None else boxes

    def _read(self, frame: NDArray[np.uint8], box: NDArray[np.float32]) -> tuple[str, float]:
        """The text of a box and the mean confidence in its characters; 0 where there is none."""
        (found,), _ = self.recognizer([upright(frame, box)[..., ::-1]])
        return found


def upright(frame: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What a box (4, 2) holds of a frame, turned level; a line that runs down the picture is turned by 90 degrees."""
    upper_left, upper_right, lower_right, lower_left = box
    wide, tall = (max(1, round(float(np.linalg.norm(to - upper_left)))) for to in (upper_right, lower_left))
    corners = [*upper_left, *lower_left, *lower_right, *upper_right]
    cut = Image.fromarray(frame).transform(
        (wide, tall), Image.Transform.QUAD, [float(one) for one in corners], Image.Resampling.BICUBIC
    )
    level = np.asarray(cut)
    return np.rot90(level) if tall >= 1.5 * wide else level


def _text_model(path: Path | str, which: str) -> str:
    found = sorted(Path(path).glob(f"*_{which}_*.onnx"))
    if not found:
        raise UserError(f"no text {which} model in {path}", "name package:rapidocr_onnxruntime/models")
    return str(found[0])

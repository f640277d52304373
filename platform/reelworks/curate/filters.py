"""Thresholds on the scores of clips: which clips a snapshot leaves out, and why; a pure function of its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from reelworks.config import Section

DUPLICATE = "duplicate"
# Scores and reasons that no model may be named after.
MEASURED = ("duration_s", "side_px", "luma", "still", "motion", "sharpness", DUPLICATE)


class Bounds(Section):
    """A clip stays if its score lies between these, ends included."""

    min: float | None = None
    """Least score that stays; left out: any."""
    max: float | None = None
    """Greatest score that stays; left out: any."""

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: no clip could stay; exchange them")
        return self


class Filters(Section):
    """What a snapshot leaves out. Scores are stored for every clip; what a threshold drops is neither captioned nor
    encoded, so a moved threshold recomputes exactly the chunks whose clips change, and no score."""

    duration_s: Bounds = Bounds()
    """Length of the clip in seconds; images are exempt."""
    side_px: Bounds = Bounds()
    """Shorter side of the source in pixels."""
    luma: Bounds = Bounds()
    """Mean brightness, 0-255: black clips lie below 20, burnt-out ones above 235."""
    still: Bounds = Bounds()
    """Share of the steps between frames in which nothing changes, 0-1: slides and frozen pictures lie above 0.9."""
    motion: Bounds = Bounds()
    """Mean change of a pixel from frame to frame, 0-255: locked-off shots lie below 1, shaken or cut ones above 30."""
    sharpness: Bounds = Bounds()
    """Variance of the brightness's Laplacian at the encoded size: out of focus below 20, depending on that size."""
    models: dict[str, Bounds] = {}
    """Score model (a key of score_models) -> bounds of its score."""
    duplicate_bits: int | None = Field(default=None, ge=0, le=40)
    """Of clips whose perceptual hashes (384 bits) differ in at most so many bits, one stays: that with the most native
    pixels (width x height x frames), then the smallest clip_id. Copies of small footage (160 x 90) in another codec, at
    another rate or a quarter of the pixels differ in up to 14 bits, those that are mostly blocks in up to 23; of the
    pairs of shots of one film, one in 1,700 lies within 16, one in 1,000 within 20. Not all pairs are compared: of
    copies that differ in 16, 24 or 40 bits at random, 99.9%, 98% or 72% are found. Left out: copies stay."""

    def bounds(self) -> dict[str, Bounds]:
        """Score -> its bounds, for those that have any, in the order in which a clip's reason is looked for."""
        own = {name: value for name, value in vars(self).items() if isinstance(value, Bounds)}
        found = own | {name: self.models[name] for name in sorted(self.models)}
        return {name: value for name, value in found.items() if value != Bounds()}


def score_of(rows: pa.Table, name: str) -> np.ndarray:
    """A score of clip rows (schema.CLIP) float64 (N,); NaN, which no bound drops, where a clip has none."""
    if name == "duration_s":
        still = rows["native_num_frames"].to_numpy() == 1
        return np.where(still, np.nan, rows["end_s"].to_numpy() - rows["start_s"].to_numpy())
    if name == "side_px":
        sides = pc.min_element_wise(rows["native_width"], rows["native_height"])
        return np.asarray(sides.to_numpy(), np.float64)
    found = pc.map_lookup(rows["scores"], name, "first")
    return np.asarray(pc.fill_null(found, np.nan).to_numpy(), np.float64)


def out_of_bounds(rows: pa.Table, filters: Filters) -> tuple[np.ndarray, np.ndarray]:
    """(the first score that drops each row, or "", object (N,); its value float64 (N,))."""
    reasons, values = np.full(rows.num_rows, "", object), np.full(rows.num_rows, np.nan)
    for name, bounds in filters.bounds().items():
        scores = score_of(rows, name)
        outside = np.zeros(rows.num_rows, bool)
        if bounds.min is not None:
            outside |= scores < bounds.min
        if bounds.max is not None:
            outside |= scores > bounds.max
        new = outside & (reasons == "")
        reasons[new], values[new] = name, scores[new]
    return reasons, values

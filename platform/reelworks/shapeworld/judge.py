"""The judge: reads colour, shape, motion and size back from pixels, with no model and no knowledge of the truth.

The background is grey, so a shape is what has chroma. For each of the six hues the judge makes a soft mask, keeps the
compact blob in it, follows the blob's centre for the motion, and overlays the blob of all frames, centred and scaled
to one area, to compare it with the three outlines. Averaging over frames is what makes it indifferent to blur and to
noise. T frames, H W rows and columns, G grid.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from reelworks.shapeworld.attributes import RGB, Colour, Motion, Shape, Size
from reelworks.shapeworld.render import signed_distance

Floats = NDArray[np.float32]

MIN_CHROMA = 38.0  # grey levels; truth has 130 or more, codec noise and background tint below 15
MIN_COMPACTNESS = 0.55  # 1 for a disc, 0.83 for a triangle, below 0.4 for noise over the frame
MIN_AREA = 0.008  # of the squared short side: a small triangle, the smallest shape, has 0.066
MIN_MATCH = 0.70  # correlation of the overlaid blob with its outline; blobs of no shape stay below
MAX_JUMP = 0.08  # of the short side: rms of the centre around a smooth path; truth stays below 0.03, noise above 0.12
STILL_BELOW = 0.13  # of the frame; truth has 0.25 or more, the sideways drift 0.03 or less
SIZE_BOUNDARY = 0.45  # of the short side, halfway between small and large
MAIN_SHARE = 0.25  # a moving speck beside a shape four times as big is not the main shape
GRID = 24
GRID_EXTENT = 1.25  # half width of the grid, in units of the square root of the blob's area


@dataclass(frozen=True)
class Reading:
    """What can be read; None where nothing can. The motion of a single frame is None."""

    colour: str | None = None
    shape: str | None = None
    motion: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Blob:
    """A compact patch of one hue: weights (T, H, W) in [0, 1], centre (T, 2) as x, y px, mass (T,) in px."""

    colour: Colour
    weights: Floats
    centre: Floats
    mass: Floats

    @property
    def visible(self) -> NDArray[np.bool_]:
        return self.mass > 0.35 * np.quantile(self.mass, 0.9)


def judge(frames: NDArray[np.uint8]) -> Reading:
    """Reads the main shape of a clip (T, H, W, 3): the moving one, or the largest if none or several move."""
    blobs = find_blobs(frames)
    if not blobs:
        return Reading()
    height, width = frames.shape[1:3]
    travels = [_travel(blob, width, height) for blob in blobs]
    moving = [float(np.abs(travel).max()) >= STILL_BELOW for travel in travels]
    masses = [float(blob.mass.mean()) for blob in blobs]
    main = [move and mass >= MAIN_SHARE * max(masses) for move, mass in zip(moving, masses, strict=True)]
    order = sorted(range(len(blobs)), key=lambda i: (main[i], masses[i]), reverse=True)
    blob, travel = blobs[order[0]], travels[order[0]]
    shape, area = _shape(blob)
    if shape is None:
        return Reading(colour=str(blob.colour), motion=_motion(travel, len(frames)))
    diameter = np.sqrt(area / _unit_area(shape)) / min(width, height)
    size = Size.large if diameter >= SIZE_BOUNDARY else Size.small
    return Reading(str(blob.colour), str(shape), _motion(travel, len(frames)), str(size))


def find_blobs(frames: NDArray[np.uint8]) -> list[Blob]:
    """The compact patches of one hue that last most of the clip, at most one a hue."""
    pixels = frames.astype(np.float32)
    chroma = pixels - pixels.mean(axis=-1, keepdims=True)  # (T, H, W, 3)
    directions = _directions()  # (6, 3)
    projected = chroma @ directions.T  # (T, H, W, 6)
    nearest = projected.argmax(axis=-1)  # (T, H, W)
    blobs = []
    for index, colour in enumerate(Colour):
        strength = np.where(nearest == index, projected[..., index], 0)
        blob = _blob(colour, strength)
        if blob is not None:
            blobs.append(blob)
    return blobs


def _blob(colour: Colour, strength: Floats) -> Blob | None:
    height, width = strength.shape[1:]
    strong = strength[strength > MIN_CHROMA]
    enough = MIN_AREA * min(height, width) ** 2
    if strong.size < enough * len(strength) / 2:
        return None
    peak = float(np.quantile(strong, 0.8))
    weights, centre, mass = _focus(_contrast(strength / peak))
    blob = Blob(colour, weights, centre, mass)
    visible = blob.visible & (mass > enough)
    if visible.sum() < max(1, 0.6 * len(strength)):
        return None
    if _jump(centre[visible]) > MAX_JUMP * min(height, width):
        return None
    spread = _spread(weights, centre, mass)
    compactness = mass[visible] / (2 * np.pi * np.maximum(spread[visible], 1e-6))
    return blob if float(np.median(compactness)) >= MIN_COMPACTNESS else None


def _contrast(strength: NDArray[np.floating]) -> NDArray[np.floating]:
    """Weights in [0, 1] from strengths relative to the peak: half of it is the outline."""
    return np.clip((strength - 0.25) / 0.5, 0, 1)


def _focus(weights: Floats, rounds: int = 6) -> tuple[Floats, Floats, Floats]:
    """Weights without what lies far from the blob: the window shrinks around the centre of mass (mean shift)."""
    height, width = weights.shape[1:]
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    kept = weights
    for step in range(rounds):
        mass = kept.sum(axis=(1, 2))  # (T,)
        safe = np.maximum(mass, 1e-6)
        centre = np.stack([(kept * x).sum(axis=(1, 2)) / safe, (kept * y).sum(axis=(1, 2)) / safe], axis=1)
        if step == rounds - 1:
            break
        area = np.quantile(kept.sum(axis=(1, 2)), 0.75)
        radius = (2.4 - 0.3 * step) * np.sqrt(area / np.pi)
        away = np.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
        kept = np.where(away <= max(radius, 2.0), weights, 0)
    return kept.astype(np.float32), centre.astype(np.float32), mass.astype(np.float32)


def _spread(weights: Floats, centre: Floats, mass: Floats) -> Floats:
    """(T,): variance in x plus variance in y, px squared; area / 2 pi for a disc."""
    height, width = weights.shape[1:]
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    away = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
    spread: Floats = (weights * away).sum(axis=(1, 2)) / np.maximum(mass, 1e-6)
    return spread


def _jump(centre: Floats) -> float:
    """The rms distance in px of centres (T, 2) from the parabola through them: what jumps about is no shape."""
    if len(centre) < 5:
        return 0.0
    times = np.linspace(-1, 1, len(centre))
    powers = np.stack([np.ones_like(times), times, times**2], axis=1)  # (T, 3)
    path = powers @ np.linalg.lstsq(powers, centre, rcond=None)[0]
    return float(np.sqrt(((centre - path) ** 2).sum(axis=1).mean()))


def _travel(blob: Blob, width: int, height: int) -> NDArray[np.float64]:
    """(2,): how far the centre goes from the first to the last visible frame, in frame widths and heights."""
    times = np.flatnonzero(blob.visible)
    if len(times) < 2:
        return np.zeros(2)
    centre = blob.centre[times] / np.array([width, height])
    slope: NDArray[np.float64] = np.polyfit(times, centre, 1)[0]
    return slope * (times[-1] - times[0])


def _motion(travel: NDArray[np.float64], num_frames: int) -> str | None:
    if num_frames < 2:
        return None
    if np.abs(travel).max() < STILL_BELOW:
        return str(Motion.still)
    if abs(travel[0]) >= abs(travel[1]):
        return str(Motion.right if travel[0] > 0 else Motion.left)
    return str(Motion.down if travel[1] > 0 else Motion.up)


def _shape(blob: Blob) -> tuple[Shape | None, float]:
    """The outline that fits best, or None; and the blob's area in px."""
    area = float(np.quantile(blob.mass, 0.8))
    times = np.flatnonzero(blob.mass >= 0.8 * area)  # what an occluder or the frame's edge cuts off is left out
    overlay = np.median([_resample(blob.weights[t], blob.centre[t], area) for t in times], axis=0)  # (G, G)
    normal = overlay - overlay.mean()
    normal /= max(float(np.sqrt((normal**2).sum())), 1e-6)
    matches = [(float((normal * outline).sum()), shape) for shape, outline in _outlines()]
    match, shape = max(matches, key=lambda pair: pair[0])
    return (shape if match >= MIN_MATCH else None), area


def _resample(weights: Floats, centre: Floats, area: float) -> Floats:
    """(G, G): the blob on a grid around its centre, in units of the square root of its area; bilinear."""
    height, width = weights.shape
    steps = np.linspace(-GRID_EXTENT, GRID_EXTENT, GRID) * np.sqrt(area)
    padded = np.pad(weights, 1)
    rows = np.clip(centre[1] + steps + 0.5, 0, height + 0.999)
    columns = np.clip(centre[0] + steps + 0.5, 0, width + 0.999)
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = (rows - r)[:, None], (columns - c)[None]
    top = padded[r][:, c] * (1 - fc) + padded[r][:, c + 1] * fc
    bottom = padded[r + 1][:, c] * (1 - fc) + padded[r + 1][:, c + 1] * fc
    grid: Floats = top * (1 - fr) + bottom * fr
    return grid


@cache
def _directions() -> NDArray[np.float32]:
    """(6, 3): unit chroma of each colour."""
    rgb = np.array([RGB[colour] for colour in Colour], np.float32)
    chroma = rgb - rgb.mean(axis=1, keepdims=True)
    directions: NDArray[np.float32] = chroma / np.linalg.norm(chroma, axis=1, keepdims=True)
    return directions


@cache
def _unit_area(shape: Shape) -> float:
    """The area of a shape of diameter 1."""
    axis = np.linspace(-1, 1, 801, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    return float((signed_distance(shape, x, y, 1.0) < 0).mean() * 4)


@cache
def _outlines() -> tuple[tuple[Shape, NDArray[np.float64]], ...]:
    """Each shape's (G, G) blob of area 1 around its centre of mass, sharp and ever more blurred, for correlation."""
    return tuple((shape, _outline(shape, blur)) for shape in Shape for blur in (0.02, 0.08, 0.14, 0.20, 0.26, 0.32))


def _outline(shape: Shape, blur: float) -> NDArray[np.float64]:
    """(G, G): what `find_blobs` makes of a shape of area 1 seen through a Gaussian of this sigma; zero mean, norm 1."""
    fine = np.linspace(-2, 2, 201)
    x, y = np.meshgrid(fine.astype(np.float32), fine.astype(np.float32))
    inside = signed_distance(shape, x, y, float(1 / np.sqrt(_unit_area(shape)))) < 0
    kernel = np.exp(-0.5 * ((fine[:, None] - fine) / blur) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    seen = _contrast(kernel @ inside @ kernel.T)
    area = float(seen.sum()) * (fine[1] - fine[0]) ** 2
    middle = float((seen * y).sum() / seen.sum())
    # Sampled as a blob is: around its centre, in units of the square root of its area.
    centre = np.array([100.5, 100.5 + middle / (fine[1] - fine[0])])
    grid = _resample(seen.astype(np.float32), centre, area / (fine[1] - fine[0]) ** 2).astype(np.float64)
    grid -= grid.mean()
    outline: NDArray[np.float64] = grid / np.sqrt((grid**2).sum())
    return outline

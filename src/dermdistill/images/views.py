"""Views: augmentations that are sampled apart from being applied, so that they can be replayed.

A *view* is (image sha256, view seed, augmentation spec). Its parameters are a pure function of
these three, computed from a hash and from no generator's state: the same in another process, on
another machine, in another order. Geometry is in normalised coordinates, so that a teacher at
224 px and a student at 128 px see the same view, each at its own size ("consistent teaching",
Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022).
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

COLUMNS = (
    "angle", "zoom", "aspect", "shift_x", "shift_y", "flip",
    "brightness", "contrast", "saturation", "hue", "red", "blue",
)  # fmt: skip
"""The parameters of a view, in the order of `sample_views`' columns."""

IDENTITY = (0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0)
PLAIN = 0
"""The view seed of the plain, unchanged image."""
RENDER_VERSION = "source-gaussian/2"
"""Names how `dermdistill.images.render` renders views; the first rendering warped images that were shrunk before, and
blurred them."""


class ViewSpec(BaseModel):
    """How far a view may depart from the plain image. Every range is drawn from uniformly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = True
    """Mirror half of the views; with a rotation of 180 this reaches all symmetries of a lesion."""
    rotation: float = Field(180.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    zoom: tuple[float, float] = (0.8, 1.2)
    """Magnification, drawn evenly on a logarithmic scale; above 1 shows less of the image."""
    aspect: float = Field(1.1, ge=1, le=2)
    """Largest stretch of one side against the other."""
    shift: float = Field(0.08, ge=0, le=0.5)
    """Largest shift as a share of the side, in x and in y."""
    brightness: float = Field(0.2, ge=0, lt=1)
    contrast: float = Field(0.2, ge=0, lt=1)
    saturation: float = Field(0.2, ge=0, lt=1)
    hue: float = Field(0.02, ge=0, le=0.5)
    """Largest turn of the hue, as a share of the whole circle."""
    white_balance: float = Field(0.08, ge=0, lt=1)
    """Largest gain or loss of the red and of the blue channel: another camera, another lamp."""


def view_seed(seed: int, view: int) -> int:
    """The seed of the `view`-th view of a run or bank with `seed`; view 0 is the plain image.

    Args:
        seed: 0 to 2**31 - 1.
        view: 0, 1, 2, … without limit below 2**32.
    """
    if view < 0 or seed < 0:
        raise ValueError(f"seed and view must not be negative, got seed={seed}, view={view}")
    return PLAIN if view == 0 else (seed << 32) | view


def sample_views(sha256s: Sequence[str], seed: int, spec: ViewSpec) -> np.ndarray:
    """Sample the parameters of one view for each image.

    Args:
        sha256s: the images' SHA-256 digests.
        seed: the view seed; `PLAIN` gives identity parameters.
        spec: the ranges.

    Returns:
        float32 [N, 12], columns as in `COLUMNS`.
    """
    plain = np.tile(np.array(IDENTITY, np.float32), (len(sha256s), 1))
    if seed == PLAIN:
        return plain
    low, high = (math.log(bound) for bound in spec.zoom)
    stretch = math.log(spec.aspect)
    u = np.stack([_uniforms(sha256, seed) for sha256 in sha256s]) if len(sha256s) else np.empty((0, 16))
    signed = 2 * u - 1
    columns = [
        signed[:, 0] * math.radians(spec.rotation),
        np.exp(low + u[:, 1] * (high - low)),
        np.exp(signed[:, 2] * stretch),
        signed[:, 3] * spec.shift,
        signed[:, 4] * spec.shift,
        (u[:, 5] < 0.5) & spec.flip,
        1 + signed[:, 6] * spec.brightness,
        1 + signed[:, 7] * spec.contrast,
        1 + signed[:, 8] * spec.saturation,
        signed[:, 9] * spec.hue,
        1 + signed[:, 10] * spec.white_balance,
        1 + signed[:, 11] * spec.white_balance,
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def turn_views(parameters: np.ndarray, sha256s: Sequence[str], seed: int, epoch: int) -> np.ndarray:
    """Each view in one of the square's eight symmetries: a pure function of image, seed and epoch.

    Args:
        parameters: float32 [N, 12] from `sample_views`.
        sha256s: the images' SHA-256 digests.
        seed: the views' seed.
        epoch: from 0.

    Returns:
        float32 [N, 12]: the same section of the image, turned by a multiple of 90 degrees, half of them mirrored.
    """
    turned = parameters.copy()
    if not len(sha256s):
        return turned
    columns = dict(zip(COLUMNS, turned.T, strict=True))  # writes through to `turned`
    u = np.stack([_uniforms(sha256, f"turn:{seed}:{epoch}") for sha256 in sha256s])
    quarters = np.floor(u[:, 0] * 4).astype(np.float32)
    columns["angle"] += quarters * np.float32(math.pi / 2)
    columns["aspect"] **= np.where(quarters % 2, -1, 1)  # a quarter turn swaps the sides
    columns["flip"][:] = np.where(u[:, 1] < 0.5, 1 - columns["flip"], columns["flip"])
    return turned


def _uniforms(sha256: str, seed: int | str) -> np.ndarray:
    digest = hashlib.blake2b(f"{sha256}:{seed}".encode(), digest_size=64).digest()
    return np.frombuffer(digest, "<u4").astype(np.float64) / 2**32

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

from dermdistill.images.view_spec import EFFECTS, ViewSpec

IDENTITY_OF = {
    "angle": 0.0, "zoom": 1.0, "aspect": 1.0, "shift_x": 0.0, "shift_y": 0.0, "flip": 0.0,
    "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "red": 1.0, "blue": 1.0,
    "hair": 0.0, "ruler": 0.0, "illumination": 0.0, "light_angle": 0.0, "vignette": 0.0, "gamma": 1.0,
    "sharpness": 0.0, "noise": 0.0, "resample": 0.0, "kernel": 0.0, "jpeg": 0.0, "number": 0.0, "turn": 0.0,
}  # fmt: skip
"""The parameters of a view, in the order of `sample_views`' columns, and their values for the plain image.

Six of geometry, six of colour, then effects: `light_angle` is the illumination's direction, `kernel` the kind of
resampling, `number` seeds what hair, ruler and noise look like. `turn` is one of the square's eight symmetries.
"""
COLUMNS = tuple(IDENTITY_OF)
IDENTITY = tuple(IDENTITY_OF.values())
KERNELS = 3
"""Kinds of resampling, see `effects`."""
PLAIN = 0
"""The view seed of the plain, unchanged image."""


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
        float32 [N, P], columns as in `COLUMNS`.
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
    plain[:, : len(columns)] = np.stack(columns, axis=1)
    _sample_effects(plain, sha256s, seed, spec)
    return plain


def _sample_effects(parameters: np.ndarray, sha256s: Sequence[str], seed: int, spec: ViewSpec) -> None:
    """Fill in the effects. Each has a digest of its own, so that switching one on changes nothing else of a view."""
    columns = dict(zip(COLUMNS, parameters.T, strict=True))  # writes through to `parameters`
    for name in EFFECTS:
        effect = getattr(spec, name)
        if effect is None or not len(sha256s):
            continue
        u = np.stack([_uniforms(sha256, f"{name}:{seed}") for sha256 in sha256s])
        drawn = u[:, 0] < effect.share
        low, high = effect.range
        values = low * (high / low) ** u[:, 1] if name == "gamma" else low + u[:, 1] * (high - low)
        if name in ("hair", "jpeg", "resample"):
            values = np.floor(low + u[:, 1] * (high - low + 1)).clip(low, high)
        columns[name][:] = np.where(drawn, values, IDENTITY_OF[name])
        if name == "illumination":
            columns["light_angle"][:] = np.where(drawn, u[:, 2] * 2 * math.pi, 0)
        if name == "resample":
            columns["kernel"][:] = np.where(drawn, np.floor(u[:, 2] * KERNELS), 0)
    seeded = (columns["hair"] != 0) | (columns["ruler"] != 0) | (columns["noise"] != 0)
    for row in np.flatnonzero(seeded).tolist():  # float32 holds these numbers exactly
        columns["number"][row] = np.floor(_uniforms(sha256s[row], f"number:{seed}")[0] * 2**24)


def turn_views(parameters: np.ndarray, sha256s: Sequence[str], seed: int, epoch: int) -> np.ndarray:
    """Each view in one of the square's eight symmetries: a pure function of image, seed and epoch.

    Args:
        parameters: float32 [N, P] from `sample_views`.
        sha256s: the images' SHA-256 digests.
        seed: the views' seed.
        epoch: from 0.

    Returns:
        float32 [N, P]: the same views, to be turned by a multiple of 90 degrees, half of them mirrored.
    """
    turned = parameters.copy()
    if len(sha256s):
        u = np.stack([_uniforms(sha256, f"turn:{seed}:{epoch}") for sha256 in sha256s])
        turned[:, COLUMNS.index("turn")] = np.floor(u[:, 0] * 4) + 4 * (u[:, 1] < 0.5)
    return turned


def _uniforms(sha256: str, seed: int | str) -> np.ndarray:
    digest = hashlib.blake2b(f"{sha256}:{seed}".encode(), digest_size=64).digest()
    return np.frombuffer(digest, "<u4").astype(np.float64) / 2**32

"""How views may differ from the plain image: the keys of a recipe. Needs pydantic alone."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

RENDER_VERSION = "source-gaussian/2"
"""Names how `dermdistill.images.render` renders views; the first rendering warped images that were shrunk before, and
blurred them."""
EFFECTS = {
    "hair": (1, 60), "ruler": (0, 1), "illumination": (0, 1), "vignette": (0, 1), "gamma": (0.2, 5),
    "sharpness": (-1, 3), "noise": (0, 0.5), "resample": (16, 1024), "jpeg": (1, 100),
}  # fmt: skip
"""The effects in the order in which they are applied, and the bounds of their ranges."""


class Effect(BaseModel):
    """Something that befalls a share of the views, as strongly as a draw from a range says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(1.0, gt=0, le=1)
    """Of the views; the others stay without it."""
    range: tuple[float, float]
    """Weakest and strongest, drawn from uniformly."""


def _effect() -> Effect | None:
    return Field(None, exclude_if=lambda value: value is None)


class ViewSpec(BaseModel):
    """How far a view may depart from the plain image. Every range is drawn from uniformly.

    The effects are off by default. Their scale is that of the image, not of a network's pixels, so that teacher and
    student of different sizes see the same.
    """

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
    """Largest relative change."""
    contrast: float = Field(0.2, ge=0, lt=1)
    """Largest relative change."""
    saturation: float = Field(0.2, ge=0, lt=1)
    """Largest relative change."""
    hue: float = Field(0.02, ge=0, le=0.5)
    """Largest turn of the hue, as a share of the whole circle."""
    white_balance: float = Field(0.08, ge=0, lt=1)
    """Largest gain or loss of the red and of the blue channel: another camera, another lamp."""
    hair: Effect | None = _effect()
    """How many hairs lie on the skin."""
    ruler: Effect | None = _effect()
    """How dark the ticks of a ruler are, 0 to 1."""
    illumination: Effect | None = _effect()
    """Gain towards one side of the image and loss towards the other, as a share."""
    vignette: Effect | None = _effect()
    """How much darker the corners are than the middle, as a share."""
    gamma: Effect | None = _effect()
    """Exponent of the tone curve, drawn evenly on a logarithmic scale; above 1 darkens."""
    sharpness: Effect | None = _effect()
    """From -1, a blur of 1 % of the side, over 0 to unsharp masks of amounts above 0."""
    noise: Effect | None = _effect()
    """Standard deviation of a sensor's noise, in shares of white, at 256 pixels a side."""
    resample: Effect | None = _effect()
    """Side in pixels that the view is shrunk to and enlarged from again."""
    jpeg: Effect | None = _effect()
    """Quality of a JPEG file of the view with 224 pixels a side."""

    @model_validator(mode="after")
    def _within_bounds(self) -> "ViewSpec":
        for name, (lowest, highest) in EFFECTS.items():
            effect = getattr(self, name)
            if effect is not None and not lowest <= effect.range[0] <= effect.range[1] <= highest:
                raise ValueError(
                    f"the range of {name} must rise within {lowest} to {highest}, got {list(effect.range)}"
                )
        return self

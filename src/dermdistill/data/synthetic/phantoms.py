"""Painting synthetic lesions: dermoscopy-like pictures of what was never skin.

A lesion is a layer of log-reflectance relative to the skin beneath, [S, S, 3]: 0 is bare skin, negative
absorbs, positive scatters. Pigments mix in it as they do in skin (Beer-Lambert), and a view is the skin times
exp(layer).
The rule of thumb that the pictures follow is Nachbar et al., "The ABCD rule of dermatoscopy",
J Am Acad Dermatol 30 (1994) 551-559: asymmetry, border, colours, differential structures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

INKS: dict[str, tuple[float, float, float]] = {
    "tan": (-0.16, -0.40, -0.54),
    "brown": (-0.40, -0.84, -1.05),
    "dark": (-0.95, -1.32, -1.48),
    "black": (-1.75, -1.85, -1.80),
    "blue": (-1.05, -0.72, -0.42),
    "veil": (-0.58, -0.34, -0.06),
    "red": (-0.14, -0.72, -0.62),
    "purple": (-0.62, -1.35, -0.95),
    "pink": (-0.02, -0.30, -0.24),
    "white": (0.10, 0.24, 0.32),
    "yellow": (0.06, 0.02, -0.22),
}
"""Log-reflectance of each colour relative to skin, red, green, blue."""


@dataclass(frozen=True)
class Signs:
    """The ABCD signs of one lesion, each 0 (harmless) to 1 (suspicious); the radius in half image widths."""

    asymmetry: float
    border: float
    colour: float
    structure: float
    radius: float


@dataclass(frozen=True)
class Look:
    """How the lesions of a class are drawn: Beta(a, b) of suspicion, mean radius, and the painter's name."""

    suspicion: tuple[float, float]
    radius: float
    painter: str


LOOKS: dict[str, Look] = {
    "akiec": Look((2.5, 3.5), 0.56, "keratosis_actinic"),
    "bcc": Look((3.0, 3.0), 0.50, "carcinoma"),
    "bkl": Look((2.6, 3.4), 0.55, "keratosis_benign"),
    "df": Look((1.5, 5.0), 0.44, "dermatofibroma"),
    "mel": Look((4.4, 2.4), 0.53, "melanocytic"),
    "nv": Look((2.0, 4.6), 0.48, "melanocytic"),
    "vasc": Look((1.8, 4.0), 0.42, "vascular"),
}
"""Nevi and melanomas share one painter: only their signs tell them apart, and their signs overlap."""


def draw_signs(look: Look, rng: np.random.Generator) -> Signs:
    """Draw a lesion's signs: one suspicion for all of them, each with its own deviation."""
    suspicion = rng.beta(*look.suspicion)
    asymmetry, border, colour, structure = np.clip(suspicion + rng.normal(0, 0.13, 4), 0, 1).tolist()
    radius = float(np.clip(look.radius + 0.22 * (suspicion - 0.4) + rng.normal(0, 0.10), 0.2, 0.85))
    return Signs(asymmetry, border, colour, structure, radius)


class Canvas:
    """A lesion's layer while it is painted, with the coordinates and the outline that the brushes use."""

    def __init__(self, size: int, signs: Signs, softness: float, rng: np.random.Generator):
        self.size, self.signs, self.rng = size, signs, rng
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        self.axis = axis
        self.x, self.y = np.meshgrid(axis, axis)
        self.layer = np.zeros((size, size, 3), np.float32)
        self.depth = self._outline()
        """Distance from the centre as a share of the outline's: 0 in the middle, 1 at the border."""
        turn = rng.uniform(0, 2 * np.pi)
        uneven = 1 + 0.7 * signs.asymmetry * np.cos(np.arctan2(self.y, self.x) + turn)
        self.mask = sigmoid((1 - self.depth) / (softness * uneven))

    def _outline(self) -> np.ndarray:
        signs, rng = self.signs, self.rng
        angle = np.arctan2(self.y, self.x)
        reach = np.ones_like(angle)
        for waves in (2, 3):
            reach += rng.normal(0, 0.02 + 0.15 * signs.asymmetry) / waves * np.cos(waves * angle + rng.uniform(0, 7))
        for waves in rng.integers(4, 10, 3):
            reach += rng.normal(0, 0.005 + 0.035 * signs.border) * np.cos(waves * angle + rng.uniform(0, 7))
        stretch = 1 - rng.uniform(0, 0.12 + 0.25 * signs.asymmetry)
        distance = np.hypot(self.x * stretch, self.y / stretch) / (signs.radius * np.maximum(reach, 0.35))
        ragged = self.field(7) + 0.6 * self.field(15) + 0.4 * self.field(30)
        return distance + (0.05 + 0.19 * signs.border) * ragged * np.clip(distance, 0, 1)

    def field(self, cells: int) -> np.ndarray:
        """Smooth noise [S, S] of about mean 0 and deviation 0.7, with `cells` bumps along a side."""
        return smooth_noise(self.rng, self.size, cells)

    def mix(self, alpha: np.ndarray, ink: str) -> None:
        """Lay an ink over the layer, covering it by `alpha` [S, S] in 0 to 1."""
        self.layer += alpha[..., None] * (np.asarray(INKS[ink], np.float32) - self.layer)

    def spots(self, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """Round spots with soft edges as an alpha [S, S]; radius in half image widths, at least a pixel."""
        wide = np.maximum(radius, 1.1 / self.size)[:, None]
        rows = np.exp(-(((self.axis - y[:, None]) / wide) ** 2))
        columns = np.exp(-(((self.axis - x[:, None]) / wide) ** 2))
        return np.clip(1.6 * (rows.T @ columns), 0, 1)

    def places(self, count: int, inner: float = 0.0, outer: float = 0.85) -> tuple[np.ndarray, np.ndarray]:
        """Random places between two shares of the radius, evenly over the area."""
        far = np.sqrt(self.rng.uniform(inner**2, outer**2, count)) * self.signs.radius
        angle = self.rng.uniform(0, 2 * np.pi, count)
        return (far * np.cos(angle)).astype(np.float32), (far * np.sin(angle)).astype(np.float32)

    def patch(self, spread: float, strength: float) -> np.ndarray:
        """One ragged patch inside the lesion, off-centre if the lesion is asymmetric, as an alpha."""
        x, y = self.places(1, outer=0.25 + 0.65 * self.signs.asymmetry)
        wide = spread * self.signs.radius
        near = ((self.x - x) ** 2 + (self.y - y) ** 2) / wide**2
        return strength * sigmoid(3 * (1 - near + 0.7 * self.field(7))) * self.mask

    def network(self, irregular: float) -> np.ndarray:
        """The lines of a honeycomb, bent and broken by `irregular`, as an alpha."""
        rng = self.rng
        pitch = max(rng.uniform(0.055, 0.085), 6.5 / self.size)
        bend = 0.9 + 1.5 * irregular
        u = 2 * np.pi / pitch * self.x + bend * self.field(9)
        v = 2 * np.pi / pitch * self.y + bend * self.field(9)
        turn = rng.uniform(0, np.pi)
        waves = sum(np.cos(u * np.cos(turn + step) + v * np.sin(turn + step)) for step in (0, np.pi / 3, 2 * np.pi / 3))
        broken = sigmoid(4 * (self.field(5) + 0.8 - 1.1 * irregular))
        return sigmoid(-2 * (np.asarray(waves) + 0.2)) * broken * self.mask

    def branches(self, count: int, thickness: float) -> np.ndarray:
        """Branching vessels from the border inwards, as an alpha."""
        rng, scale = self.rng, 2
        sheet = Image.new("L", (self.size * scale,) * 2)
        pen = ImageDraw.Draw(sheet)
        half = self.size * scale / 2

        def grow(x: float, y: float, heading: float, wide: float, left: int) -> None:
            points = [(half * (1 + x), half * (1 + y))]
            for _ in range(left):
                heading += rng.normal(0, 0.35)
                x, y = x + 0.05 * np.cos(heading), y + 0.05 * np.sin(heading)
                points.append((half * (1 + x), half * (1 + y)))
                if wide > 0.4 and rng.random() < 0.35:
                    grow(x, y, heading + rng.choice([-0.8, 0.8]), wide * 0.6, left // 2)
            pen.line(points, fill=255, width=max(1, round(wide * thickness * half)))

        for _ in range(count):
            angle = rng.uniform(0, 2 * np.pi)
            start = 0.9 * self.signs.radius
            grow(start * np.cos(angle), start * np.sin(angle), angle + np.pi + rng.normal(0, 0.5), 1.0, 9)
        return np.asarray(sheet.resize((self.size,) * 2, Image.Resampling.BOX), np.float32) / 255


def sigmoid(values: np.ndarray) -> np.ndarray:
    """The logistic function, safe for any size of argument."""
    return 0.5 * (1 + np.tanh(0.5 * values))


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise [S, S] with `cells` bumps along a side."""
    grid = Image.fromarray(rng.standard_normal((cells + 2, cells + 2)).astype(np.float32))
    inside = (1, 1, cells + 1, cells + 1)
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC, box=inside))


def melanocytic(canvas: Canvas) -> None:
    """Nevi and melanomas: brown, with network or globules, and all that the signs ask for."""
    signs, rng = canvas.signs, canvas.rng
    turn = rng.uniform(0, 2 * np.pi)
    slope = (canvas.x * np.cos(turn) + canvas.y * np.sin(turn)) / signs.radius
    density = rng.uniform(0.55, 1.05) + 0.30 * (0.6 - canvas.depth)
    density = density + signs.asymmetry * 0.35 * slope + (0.06 + 0.14 * signs.colour) * canvas.field(5)
    density = density + 0.13 * canvas.field(14) + 0.1 * canvas.field(28)
    canvas.mix(canvas.mask * np.clip(density, 0.1, 1.25), str(rng.choice(["brown", "brown", "tan"])))
    others = rng.permutation(["dark", "black", "blue", "red", "white", "dark", "tan"])
    for ink in others[: round(float(np.clip(4.2 * signs.colour - 0.4 + rng.normal(0, 0.5), 0, 5)))]:
        canvas.mix(canvas.patch(rng.uniform(0.28, 0.55), rng.uniform(0.55, 0.9)), str(ink))
    if rng.random() < 0.6:
        canvas.mix(rng.uniform(0.25, 0.55) * canvas.network(signs.structure), "dark")
    else:
        x, y = canvas.places(int(rng.integers(14, 40)), outer=0.8 + 0.25 * signs.structure)
        even = rng.uniform(0.025, 0.045)
        canvas.mix(
            0.55 * canvas.spots(x, y, even * np.exp(rng.normal(0, 0.1 + 0.5 * signs.structure, x.size))),
            "dark",
        )
    if signs.structure > 0.5 and rng.random() < 0.7:
        canvas.mix(canvas.patch(rng.uniform(0.35, 0.6), 0.45 + 0.45 * signs.structure), "veil")
    dots = rng.poisson(14 * signs.structure**2)
    if dots:
        x, y = canvas.places(dots, inner=0.3, outer=1.0)
        canvas.mix(0.8 * canvas.spots(x, y, rng.uniform(0.012, 0.025, dots)), "black")


def keratosis_benign(canvas: Canvas) -> None:
    """Seborrhoeic keratoses and lentigines: waxy, with milia-like cysts and comedo-like openings."""
    signs, rng = canvas.signs, canvas.rng
    density = rng.uniform(0.6, 1.1) + 0.22 * canvas.field(12) + 0.12 * canvas.field(5)
    canvas.mix(canvas.mask * np.clip(density, 0.15, 1.2), str(rng.choice(["tan", "brown", "brown"])))
    for ink in rng.permutation(["blue", "dark", "yellow", "tan"])[: round(3 * signs.colour)]:
        canvas.mix(canvas.patch(rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.7)), str(ink))
    if rng.random() < 0.3:
        canvas.mix(0.35 * canvas.network(signs.structure), "dark")
    x, y = canvas.places(int(rng.integers(2, 10)))
    canvas.mix(0.7 * canvas.spots(x, y, rng.uniform(0.025, 0.05, x.size)), "dark")
    x, y = canvas.places(int(rng.integers(3, 14)))
    canvas.mix(0.75 * canvas.spots(x, y, rng.uniform(0.018, 0.04, x.size)), "white")


def keratosis_actinic(canvas: Canvas) -> None:
    """Actinic keratoses and intraepithelial carcinomas: ill-defined, pink, scaly, with dotted vessels."""
    signs, rng = canvas.signs, canvas.rng
    canvas.mix(canvas.mask * np.clip(0.75 + 0.25 * canvas.field(6), 0, 1), str(rng.choice(["pink", "red"])))
    if rng.random() < 0.4:
        canvas.mix(canvas.patch(0.6, rng.uniform(0.3, 0.75)), str(rng.choice(["brown", "tan", "dark"])))
    x, y = canvas.places(int(rng.integers(15, 45)))
    canvas.mix(0.45 * canvas.spots(x, y, rng.uniform(0.015, 0.028, x.size)), "red")
    scales = sigmoid(6 * (canvas.field(11) + 0.5 * canvas.field(24) - 0.75 + 0.4 * signs.structure))
    canvas.mix(rng.uniform(0.45, 0.85) * scales * canvas.mask, str(rng.choice(["white", "yellow"])))


def carcinoma(canvas: Canvas) -> None:
    """Basal cell carcinomas: pink and shiny, with branching vessels, blue-grey nests and small ulcers."""
    signs, rng = canvas.signs, canvas.rng
    canvas.mix(canvas.mask * np.clip(0.8 + 0.3 * canvas.field(5), 0, 1), "pink")
    if rng.random() < 0.35:
        canvas.mix(canvas.patch(rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.7)), "tan")
    x, y = canvas.places(int(rng.integers(1, 4 + round(8 * signs.structure))))
    nests = canvas.spots(x, y, signs.radius * rng.uniform(0.12, 0.34, x.size))
    canvas.mix(rng.uniform(0.5, 0.9) * nests * canvas.mask, str(rng.choice(["blue", "blue", "dark"])))
    canvas.mix(rng.uniform(0.45, 0.8) * canvas.branches(int(rng.integers(2, 6)), 0.03), "red")
    if rng.random() < 0.3 + 0.4 * signs.colour:
        canvas.mix(canvas.patch(rng.uniform(0.2, 0.35), 0.8), str(rng.choice(["red", "purple", "yellow"])))
    canvas.mix(canvas.patch(0.35, rng.uniform(0.1, 0.6)), "white")


def dermatofibroma(canvas: Canvas) -> None:
    """Dermatofibromas: a white scar-like middle in a faint ring of network."""
    rng = canvas.rng
    canvas.mix(canvas.mask * rng.uniform(0.5, 0.95), str(rng.choice(["tan", "tan", "brown", "pink"])))
    canvas.mix(rng.uniform(0.3, 0.55) * canvas.network(0.15), "brown")
    middle = sigmoid((rng.uniform(0.35, 0.6) - canvas.depth + 0.06 * canvas.field(8)) / 0.09)
    canvas.mix(rng.uniform(0.4, 0.9) * middle, str(rng.choice(["white", "white", "pink"])))


def vascular(canvas: Canvas) -> None:
    """Haemangiomas and angiokeratomas: red to purple lagoons, sharply bounded."""
    signs, rng = canvas.signs, canvas.rng
    canvas.mix(canvas.mask * rng.uniform(0.6, 1.0), "red")
    x, y = canvas.places(int(rng.integers(5, 18)))
    lagoons = canvas.spots(x, y, signs.radius * rng.uniform(0.14, 0.34, x.size)) * canvas.mask
    canvas.mix(rng.uniform(0.6, 0.95) * lagoons, str(rng.choice(["red", "purple", "purple", "dark"])))
    if rng.random() < 0.5:
        canvas.mix(canvas.patch(rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.8)), str(rng.choice(["purple", "black"])))
    if rng.random() < 0.4:
        canvas.mix(canvas.patch(rng.uniform(0.4, 0.7), rng.uniform(0.2, 0.5)), "veil")


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    painter.__name__: painter
    for painter in (melanocytic, keratosis_benign, keratosis_actinic, carcinoma, dermatofibroma, vascular)
}
SOFTNESS = {"keratosis_actinic": (0.14, 0.26), "carcinoma": (0.08, 0.18), "keratosis_benign": (0.025, 0.07)}


def paint_lesion(diagnosis: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Paint one lesion.

    Args:
        diagnosis: one of `dermdistill.classes.CLASSES`.
        size: side of the layer in pixels.
        rng: decides everything about the lesion.

    Returns:
        Log-reflectance relative to the skin, float32 [size, size, 3], 0 where there is no lesion.
    """
    look = LOOKS[diagnosis]
    signs = draw_signs(look, rng)
    canvas = Canvas(size, signs, rng.uniform(*SOFTNESS.get(look.painter, (0.05, 0.16))), rng)
    PAINTERS[look.painter](canvas)
    # Structures may end a little outside the outline, but nothing is painted far from it.
    return canvas.layer * sigmoid((1.18 - canvas.depth) / 0.05)[..., None]

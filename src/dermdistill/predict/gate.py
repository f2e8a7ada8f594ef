"""The gate: whether an image is one that a bundle's model may judge at all.

It is a small graph beside the model, `gate.onnx`, over the same pixels, and nothing of the model depends on it. Bundles
without the file have no gate.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from dermdistill.errors import IntegrityError
from dermdistill.predict.graphs import read_metadata
from dermdistill.predict.runtime import OnnxRuntime
from dermdistill.specs import Strict

FORMAT: Literal["dermdistill-gate/1"] = "dermdistill-gate/1"
KEY = "dermdistill.gate"
"""Of the graph's metadata, which holds `GateFacts` as JSON."""
WhenRefused = Literal["refuse", "judge", "off"]
GOOD = "good"
REASONS = {
    "not_dermoscopic": "it does not look like a dermoscopic image",
    "blurred": "it is blurred, or shows nothing",
    "dark": "it is too dark",
    "bright": "it is too bright",
    "glare": "too much of it is white",
    "unframed": "too much of it is black: the skin fills too little of the frame",
}
"""Why an image is refused, in the order of the graph's outputs, each in words."""

Count = Annotated[int, Field(ge=0)]


class GateFacts(Strict):
    """What a gate was fitted on, and what it refuses."""

    format: Literal["dermdistill-gate/1"] = FORMAT
    reasons: tuple[str, ...]
    """Names of the outputs, in their order."""
    limits: tuple[float, ...]
    """An image is refused where a measure is beyond its limit: below it for 'blurred' and 'dark', else above it."""
    size: Annotated[int, Field(ge=1)]
    """Side of the input in pixels, that of the model."""
    manifest_sha256: str
    """Of the images that it was fitted on."""
    licences: tuple[str, ...]
    """Of these images."""
    images: Count
    """How many of them, all dermoscopic; whatever else it learned to refuse was generated."""
    generated: Count
    seed: int


def in_words(reasons: Iterable[str]) -> str:
    """Reasons of a refusal in words.

    Args:
        reasons: some of `REASONS`; others, of a later version, stand as they are.
    """
    return "; ".join(REASONS.get(name, name) for name in reasons)


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one image."""

    measures: dict[str, float]
    """The measure behind each reason."""
    reasons: tuple[str, ...]
    """Why the image is refused, some of `REASONS`; nothing if it is not."""

    @property
    def word(self) -> str:
        """The reasons by their names, or 'good'."""
        return ",".join(self.reasons) or GOOD

    @property
    def message(self) -> str:
        """The reasons in words; empty for a good image."""
        return in_words(self.reasons)


class Gate:
    """A loaded gate. Several threads may use it at once.

    Args:
        graph: the file.
        size: side of the model's input in pixels.

    Raises:
        IntegrityError: the file is no gate, is of another format, or is for images of another size.
    """

    def __init__(self, graph: Path, size: int):
        self.graph = graph
        self.facts = read_facts(graph)
        if self.facts.size != size:
            raise IntegrityError(
                f"{graph} is for images of {self.facts.size} px, the model takes {size} px; fit another"
            )
        self._runtime = OnnxRuntime(graph, 1)
        if "image" not in self._runtime.inputs or not {"measures", "excess"} <= self._runtime.outputs:
            raise IntegrityError(
                f"{graph} takes {sorted(self._runtime.inputs)} and gives {sorted(self._runtime.outputs)}, expected "
                "'image', 'measures' and 'excess'"
            )

    def judge(self, batch: np.ndarray) -> list[Verdict]:
        """What the gate says of images.

        Args:
            batch: as the model takes them, float32 [N, 3, S, S] in [0, 1] (`dermdistill.predict.runtime.as_batch`).

        Raises:
            IntegrityError: the graph fails, or gives something else than a number for each reason.
        """
        measures, excess = self._runtime.run(["measures", "excess"], batch)
        expected = (len(batch), len(self.facts.reasons))
        if measures.shape != expected or excess.shape != expected or not np.isfinite(excess).all():
            raise IntegrityError(f"{self.graph} gave no number for each of {expected}; its bundle is broken")
        names = self.facts.reasons
        return [
            Verdict(
                dict(zip(names, map(float, found), strict=True)),
                tuple(name for name, over in zip(names, beyond, strict=True) if over > 0),
            )
            for found, beyond in zip(measures, excess, strict=True)
        ]


def read_facts(graph: Path) -> GateFacts:
    """What a gate's graph says of itself.

    Raises:
        IntegrityError: it is no gate of this format.
    """
    text = read_metadata(graph).get(KEY)
    if text is None:
        raise IntegrityError(
            f"{graph} is not a gate: its metadata has no '{KEY}'; make one with `dermdistill gate fit`"
        )
    try:
        facts = GateFacts.model_validate(json.loads(text))
    except (ValidationError, ValueError) as error:
        raise IntegrityError(f"{graph} does not fit {FORMAT}: {error}") from None
    if unknown := [name for name in facts.reasons if name not in REASONS]:
        raise IntegrityError(
            f"{graph} refuses for reasons that are not known: {', '.join(unknown)}; update dermdistill"
        )
    if len(facts.limits) != len(facts.reasons):
        raise IntegrityError(f"{graph} has {len(facts.limits)} limits for {len(facts.reasons)} reasons; fit it again")
    return facts

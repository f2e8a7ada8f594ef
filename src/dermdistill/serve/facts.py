"""What the service tells about its model."""

import re

from dermdistill.classes import CLASS_NAMES
from dermdistill.predict.bundle import Bundle
from dermdistill.predict.gate import REASONS
from dermdistill.predict.header import GRAPH
from dermdistill.predict.predictor import Predictor
from dermdistill.serve.schemas import ClassOut, FigureOut, ModelName, ModelOut, ThresholdUsed
from dermdistill.serve.settings import Limits

CARD = "MODEL_CARD.md"
_FIGURES = re.compile(r"^## Figures\n+\| figure \|[^\n]*\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", re.MULTILINE)
_ROW = re.compile(r"^\| (\S+) \| ([\d.]+) \| (?:([\d.]+) to ([\d.]+)|undefined) \|$", re.MULTILINE)


def model_name(bundle: Bundle) -> ModelName:
    """Name, version and hash of a bundle's graph."""
    return ModelName(name=bundle.spec.name, version=bundle.spec.version, sha256=bundle.spec.files[GRAPH])


def named_threshold(bundle: Bundle, value: float) -> ThresholdUsed:
    """A threshold with the name that the bundle has for its value, if it has one."""
    names = [name for name, known in bundle.spec.thresholds.items() if known.value == value]
    return ThresholdUsed(name=names[0] if names else None, value=value)


def model_facts(predictor: Predictor, limits: Limits) -> ModelOut:
    """The facts of a bundle's card, and what this service makes of it.

    Args:
        predictor: the model, with the service's own threshold and gate.
        limits: the service's limits.
    """
    bundle, asked = predictor.bundle, predictor.gate
    spec = bundle.spec
    classes = [
        ClassOut(name=name, meaning=CLASS_NAMES.get(name, "not melanoma"), is_melanoma=place == spec.melanoma_index)
        for place, name in enumerate(spec.classes)
    ]
    return ModelOut(
        model=model_name(bundle),
        intended_use=spec.intended_use,
        classes=classes,
        default_threshold=named_threshold(bundle, predictor.threshold),
        thresholds=spec.thresholds,
        figures=figures(card(bundle)),
        input=spec.input,
        temperature=spec.temperature,
        calibration=spec.calibrated.method,
        network=spec.model,
        data=spec.data,
        licence=spec.licence,
        gate={} if asked is None else {name: REASONS[name] for name in asked.facts.reasons},
        limits={"images": limits.images, "body_bytes": limits.body_bytes, "pixels": limits.pixels},
    )


def card(bundle: Bundle) -> str:
    """The model card in Markdown; empty if the bundle has none."""
    path = bundle.folder / CARD
    return path.read_text(encoding="utf-8") if CARD in bundle.spec.files else ""


def figures(text: str) -> list[FigureOut]:
    """The table of figures on held-out images in a model card."""
    table = _FIGURES.search(text)
    return [
        FigureOut(name=name, value=float(value), low=float(low) if low else None, high=float(high) if high else None)
        for name, value, low, high in _ROW.findall(table[1] if table else "")
    ]

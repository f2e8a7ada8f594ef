"""What `dermdistill evaluate` brings to the evidence beside predictions: bundles, training images, the ledger."""

import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dermdistill.errors import InputError, no_such

if TYPE_CHECKING:
    from PIL import Image

    from dermdistill.evaluate.predictions import ModelPredictions
    from dermdistill.evaluate.render.cases import Explainer
    from dermdistill.evaluate.report import Circumstances
    from dermdistill.predict.predictor import Predictor

_TIMED = 30
"""Images that a bundle is timed on, one at a time."""


@dataclass(frozen=True)
class Allowed:
    """What the user lets `evaluate` do that it refuses otherwise."""

    overlap: bool
    cross_fit: bool


def left_out(paths: dict[str, Path]) -> "dict[str, ModelPredictions]":
    """What models predict where they were trained without the source of each image, by the models' names."""
    from dermdistill.evaluate.predictions import read_model

    return {name: read_model(path) for name, path in paths.items()}


def told_training(models: "dict[str, ModelPredictions]", paths: dict[str, Path]) -> "dict[str, ModelPredictions]":
    """The same models, with what those named have learned from.

    Raises:
        InputError: a name that no model has, or nothing there.
    """
    from dermdistill.data.manifest import read_manifest
    from dermdistill.data.training_keys import read_training_keys, training_keys

    told = dict(models)
    for name, path in paths.items():
        _require(name, models, "--trained-on")
        keys = read_training_keys(path) if path.suffix == ".npz" else training_keys(read_manifest(path))
        told[name] = replace(models[name], trained_on={"": keys})
    return told


def bundles_of(
    models: "dict[str, ModelPredictions]", paths: dict[str, Path]
) -> "tuple[dict[str, ModelPredictions], dict[str, Explainer]]":
    """The same models, with hash, time and training images of their bundles, and what draws their maps.

    What the networks of a cross-validation learned from is another thing than what the bundle did, and stays.

    Raises:
        InputError: a name that no model has, or no bundle there.
    """
    from dermdistill.export.answers import trained_on
    from dermdistill.files import sha256_file
    from dermdistill.predict.predictor import Predictor

    told, explainers = dict(models), {}
    for name, path in paths.items():
        _require(name, models, "--bundle")
        predictor = Predictor(path, gate="off")
        graph = sha256_file(predictor.bundle.folder / "model.onnx")
        facts = {"graph_sha256": graph, "milliseconds": _milliseconds(predictor)}
        cost = {"parameters": predictor.bundle.spec.model.parameters, "macs": predictor.bundle.spec.model.macs}
        known = models[name].provenance
        facts |= {key: value for key, value in cost.items() if getattr(known, key) is None}
        own = models[name].trained_on or ({} if "part" in models[name].table else trained_on(predictor.bundle))
        told[name] = replace(models[name], provenance=known.model_copy(update=facts), trained_on=own)
        explainers[name] = _explainer(predictor)
    return told, explainers


def circumstances(
    table: Path, models: "dict[str, ModelPredictions]", role: str, ledger: Path | None, allowed: Allowed
) -> "Circumstances":
    """The ledger, where the rows are a test, and the external tests of graphs.

    A table by itself is a test if it has validation rows too, and so a column that tells which rows are one.
    """
    from dermdistill.evaluate.analyses.external import read_external
    from dermdistill.evaluate.ledger import DeclaredTest, ledger_of
    from dermdistill.evaluate.report import Circumstances
    from dermdistill.publish.models import external_path

    own_table = any(model.temperature is not None for model in models.values())
    declared = role == "test" and not (own_table and not any(model.ids("validation") for model in models.values()))
    command = shlex.join(["dermdistill", *sys.argv[1:]])
    test = DeclaredTest(ledger or ledger_of(table), command) if declared or ledger else None
    known = any(model.provenance.graph_sha256 for model in models.values()) and external_path().exists()
    return Circumstances(
        test=test, external=read_external(external_path()) if known else None, allow_overlap=allowed.overlap,
        cross_fit=allowed.cross_fit,
    )  # fmt: skip


def _require(name: str, models: "dict[str, ModelPredictions]", option: str) -> None:
    if name not in models:
        raise InputError(f"{option} {name}=…: {no_such('model', name, models)}")


def _milliseconds(predictor: "Predictor") -> float:
    """The median time that the graph takes for one image."""
    import numpy as np

    size = predictor.bundle.spec.input.size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    taken = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        predictor.probabilities(image)
        taken.append(time.perf_counter() - started)
    return round(1000 * float(np.median(taken)), 3)


def _explainer(predictor: "Predictor") -> "Explainer":
    """Draws the occlusion map of an image."""

    def draw(image: "Image.Image") -> "Image.Image":
        from PIL import Image

        from dermdistill.images.preprocess import resize_square
        from dermdistill.predict.explain import colours, explain

        found = explain(predictor, resize_square(image, predictor.bundle.spec.input.size))
        return Image.fromarray(colours(found.effects))

    return draw

"""A small data set with lesions of several images, and models of known strength on it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest

from dermdistill.classes import BINARY_CLASSES, CLASSES, MELANOMA
from dermdistill.data.manifest import validate
from dermdistill.evaluate.comparison import gather
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.predictions import ModelPredictions, Provenance
from dermdistill.evaluate.report import Circumstances, FromImages, measure
from dermdistill.evaluate.spec import EvaluateSpec

N, LESIONS = 600, 400


@pytest.fixture(scope="session")
def whole_manifest() -> pd.DataFrame:
    """What `manifest` is a copy of; not to be changed."""
    generator = np.random.default_rng(0)
    lesion = generator.integers(0, LESIONS, N)
    of_lesion = generator.choice(CLASSES, LESIONS, p=[0.05, 0.1, 0.15, 0.05, 0.2, 0.4, 0.05])
    diagnosis = of_lesion[lesion]
    return validate(
        pd.DataFrame({
            "image_id": [f"img{index:04d}" for index in range(N)],
            "path": [f"{index}.jpg" for index in range(N)],
            "sha256": [f"{index:064x}" for index in range(N)],
            "width": 600, "height": 450, "diagnosis": diagnosis, "melanoma": (diagnosis == MELANOMA).astype(int),
            "lesion_id": [f"lesion{index}" for index in lesion],
            "source": np.where(lesion % 3 == 0, "second", "first"),
            "age": generator.integers(20, 90, N).astype(float),
            "sex": generator.choice(["male", "female"], N),
            "site": generator.choice(["back", "scalp"], N, p=[0.97, 0.03]),
        })
    )  # fmt: skip


@pytest.fixture
def manifest(whole_manifest: pd.DataFrame) -> pd.DataFrame:
    return whole_manifest.copy()


@pytest.fixture
def make_model(manifest: pd.DataFrame, model_on: Callable[..., ModelPredictions]) -> Callable[..., ModelPredictions]:
    """make_model(strength, seed, classes): a model on the test's own manifest."""
    return partial(model_on, manifest)


@pytest.fixture(scope="session")
def model_on() -> Callable[..., ModelPredictions]:
    """A model that finds the diagnosis the better, the larger its strength; a third of the lesions each role."""

    def make(
        manifest: pd.DataFrame, strength: float = 2.0, seed: int = 1, classes: tuple[str, ...] = CLASSES
    ) -> ModelPredictions:
        right = manifest["diagnosis"].to_numpy()[:, None] == np.array(CLASSES)
        logits = np.random.default_rng(seed).normal(size=right.shape) + strength * right
        if classes == BINARY_CLASSES:
            is_melanoma = np.array(CLASSES) == MELANOMA
            rest = np.logaddexp.reduce(logits[:, ~is_melanoma], axis=1)
            logits = np.stack([rest, logits[:, is_melanoma][:, 0]], axis=1)
        number = manifest["lesion_id"].str.removeprefix("lesion").astype(int).to_numpy()
        table = pd.DataFrame(logits, columns=[f"logit_{name}" for name in classes])
        table.insert(0, "image_id", manifest["image_id"])
        table.insert(1, "role", np.array(["train", "validation", "test"])[number % 7 % 3])
        made = Provenance(stage="student", model="toy", parameters=12_345, macs=6_700_000, seed=seed)
        return ModelPredictions(classes, table, made)

    return make


@pytest.fixture
def measured(manifest: pd.DataFrame) -> Callable[..., Report]:
    """The figures of models without a page, which takes most of the time."""

    def make(models: dict[str, ModelPredictions], role: str = "test", **circumstances) -> Report:
        return measure(
            gather(manifest, models, EvaluateSpec(replicates=100), role), FromImages(), Circumstances(**circumstances)
        )

    return make

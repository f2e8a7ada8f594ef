"""A bundle as a Hugging Face model repository: weights for timm or PyTorch, a card with metadata, and the bundle.

    config.json  model.safetensors  README.md     what timm and huggingface_hub read
    bundle.json  model.onnx  pixels.onnx  …       the bundle, as it is
    configs/metadata.json                         what MONAI reads

Nothing is uploaded: `hf upload NAME FOLDER` does that.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from safetensors.torch import save_file
from torch import Tensor

from dermdistill.classes import CLASS_NAMES
from dermdistill.data.sources import source_name
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.external import read_external, scored
from dermdistill.export.module import TENSORS, Classifier, build_classifier
from dermdistill.files import sha256_file, write_json, write_text
from dermdistill.licences import kind_of
from dermdistill.networks import timm_cut
from dermdistill.networks.pretrained import size_options
from dermdistill.networks.registry import ENTRIES
from dermdistill.predict.bundle import Bundle, open_bundle
from dermdistill.predict.header import GATE, GRAPH, AnyHeader
from dermdistill.publish.models import FIGURES, external_path, out_of_fold
from dermdistill.publish.monai import metadata
from dermdistill.run import Run

CONFIG: Final = "config.json"
_IDS = {"CC0": "cc0", "CC BY": "cc-by", "CC BY-SA": "cc-by-sa", "CC BY-NC": "cc-by-nc"}
_TIMM = "timm:"
METRIC_NAMES: Final = {
    "partial_auroc": "partial AUROC above 80 % sensitivity (of 0.2)", "average_precision": "average precision",
    "brier": "Brier score", "ece": "expected calibration error", "balanced_accuracy": "seven-class balanced accuracy",
}  # fmt: skip
"""The report's metrics that the card's metadata have besides the AUROC, with their names there."""
_NO_GATE: Final = """

None of these asks the gate, so that every picture gets an answer. `dermdistill predict --model FOLDER` asks it."""
POINT_RATES: Final = ("sensitivity", "specificity")


def publish_model(
    to: str | Path, model: str | Path | None = None, *, run: str | Path | None = None, force: bool = False
) -> Path:
    """Write a bundle as a Hugging Face model repository.

    Args:
        to: the folder.
        model: a bundle's folder or the name of one that ships, by default the default one.
        run: the run that the bundle was exported from, whose weights keep their BatchNorms; by default what lies beside
            the bundle, else the weights of its graph, with BatchNorms folded.
        force: replace a folder that was published before; anything else is never replaced.

    Returns:
        The folder.

    Raises:
        InputError: no such bundle, `to` exists, or the run is another one's.
        IntegrityError: the weights do not give the bundle's own answers.
    """
    to = Path(to)
    _check_place(to, force)
    bundle = open_bundle(model)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}.") as temporary:
        folder = Path(temporary) / to.name
        folder.mkdir()
        for name in ["bundle.json", *bundle.spec.files, *([FIGURES] if (bundle.folder / FIGURES).is_file() else [])]:
            shutil.copyfile(bundle.folder / name, folder / name)
        beside = _weights(bundle, run)
        if beside is not None:
            shutil.copyfile(beside, folder / TENSORS)
        found = build_classifier(Bundle(folder=folder, spec=bundle.spec))
        folded = beside is None
        architecture = _architecture(bundle.spec, folded)
        save_file(_tensors(found, bundle.spec, folded), folder / TENSORS, metadata={"format": "pt"})
        write_json(folder / CONFIG, _config(bundle.spec, found, architecture))
        write_json(folder / "configs" / "metadata.json", metadata(bundle.spec))
        write_text(folder / "README.md", _card(bundle, architecture))
        if to.exists():
            shutil.rmtree(to)
        folder.replace(to)
    return to


def _check_place(to: Path, force: bool) -> None:
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return
    published = (to / CONFIG).is_file() and (to / "bundle.json").is_file()
    if not (force and published):
        mend = "--force replaces it" if published else "choose another folder"
        raise InputError(f"{to} exists and is not empty; {mend}")


def _weights(bundle: Bundle, run: str | Path | None) -> Path | None:
    """The file that the bundle's network was trained to, if it is there."""
    wanted = bundle.spec.model.weights_sha256
    if run is not None:
        path = Run(Path(run)).weights()
        if sha256_file(path) != wanted:
            raise InputError(f"{bundle.folder} was not exported from the run {run}: its weights are others")
        return path
    beside = bundle.folder / TENSORS
    return beside if beside.is_file() and sha256_file(beside) == wanted else None


def _architecture(header: AnyHeader, folded: bool) -> str | None:
    """What timm calls the network; None if it has no name for it."""
    name = header.model.name
    if folded:
        return None
    if name == "lite0_cut":
        return timm_cut.NAME
    if name in ENTRIES or name.endswith("@cut"):
        return None
    return name.removeprefix(_TIMM)


def _tensors(found: Classifier, header: AnyHeader, folded: bool) -> dict[str, Tensor]:
    tensors = dict(found.network.state_dict())
    if header.model.name == "lite0_cut" and not folded:
        return timm_cut.to_timm(tensors)
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def _config(header: AnyHeader, found: Classifier, architecture: str | None) -> dict[str, Any]:
    """config.json in timm's form; the keys of `dermdistill` are ours."""
    size = header.input.size
    own = {
        "bundle": header.name, "model": header.model.name, "temperature": header.temperature,
        "default_threshold": header.thresholds[header.default_threshold].value,
        "melanoma_index": header.melanoma_index,
        **({} if header.calibration is None else {"calibration": header.calibration.model_dump(mode="json")}),
    }  # fmt: skip
    if architecture is None:
        return {"library": "dermdistill", "num_classes": len(header.classes), "label_names": list(header.classes),
                "input_size": [3, size, size], "mean": found.mean.flatten().tolist(),
                "std": found.std.flatten().tolist(), "dermdistill": own}  # fmt: skip
    return {
        "architecture": architecture,
        "num_classes": len(header.classes),
        "num_features": int(getattr(found.network, "num_features", timm_cut.HEAD)),
        **({"model_args": bound} if (bound := size_options(architecture, size)) else {}),
        "label_names": list(header.classes),
        "label_descriptions": {name: CLASS_NAMES.get(name, "not melanoma") for name in header.classes},
        "pretrained_cfg": {
            "input_size": [3, size, size], "fixed_input_size": False, "interpolation": "bilinear", "crop_pct": 1.0,
            "crop_mode": "squash", "mean": found.mean.flatten().tolist(), "std": found.std.flatten().tolist(),
            "num_classes": len(header.classes), **_ends(found, architecture), "license": _licence(header)["license"],
        },
        "dermdistill": own,
    }  # fmt: skip


def _ends(found: Classifier, architecture: str) -> dict[str, Any]:
    """The names of the first convolution and of the classifier."""
    if architecture == timm_cut.NAME:
        return {"first_conv": "conv_stem", "classifier": "classifier"}
    known = getattr(found.network, "pretrained_cfg", {})
    return {key: known[key] for key in ("first_conv", "classifier") if key in known}


def _licence(header: AnyHeader) -> dict[str, Any]:
    """The licence of the weights, as the hub names it."""
    weights = header.licence.weights
    kind = _IDS.get(kind_of(weights))
    if kind is None:
        return {"license": "other", "license_name": "unknown", "license_link": "LICENSE-WEIGHTS.txt"}
    version = re.search(r"\b([1-4]\.\d)\b", weights)
    return {"license": f"{kind}-{'1.0' if kind == 'cc0' else version[1] if version else '4.0'}"}


def _card(bundle: Bundle, architecture: str | None) -> str:
    """README.md: the metadata, how to load it, and the bundle's own card."""
    header = bundle.spec
    tags = ["image-classification", "dermoscopy", "melanoma", "medical", "safetensors", "onnx", "dermdistill"]
    tags += ["knowledge-distillation"] if header.model.stage == "student" else []
    tags += ["timm"] if architecture else []
    tags += ["synthetic"] if header.data.synthetic else []
    data = ModelCardData(
        **_licence(header), language="en", library_name="timm" if architecture else "dermdistill",
        pipeline_tag="image-classification", model_name=header.name, eval_results=_results(bundle) or None, tags=tags,
    )  # fmt: skip
    text = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8").strip()
    loading = _loading(header, architecture) + (_NO_GATE if GATE in header.files else "")
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n\n{loading}\n")
    return str(card)


def _results(bundle: Bundle) -> list[EvalResult]:
    """The figures that are known of the bundle's graph, for the hub's table of results."""
    found: list[EvalResult] = []
    figures = out_of_fold(bundle.folder)
    if figures is not None:
        name = f"{', '.join(map(source_name, bundle.spec.data.sources))}, out of fold"
        of = _Tested(name, "out-of-fold", figures.images, figures.melanomas)
        found.append(of.result("roc_auc", figures.auroc.value, "AUROC"))
        if figures.within is not None:
            found.append(of.result("roc_auc", figures.within.value, "AUROC within collections"))
        known = [key for key in METRIC_NAMES if key in figures.metrics]
        found += [of.result(key, figures.metrics[key].value, METRIC_NAMES[key]) for key in known]
        for point in (bundle.spec.default_threshold, "specificity_90"):
            rates = figures.points.get(point, {})
            what = f"at the threshold for {point.replace('_', ' ')} %"
            found += [of.result(rate, rates[rate].value, f"{rate} {what}") for rate in POINT_RATES if rate in rates]
    path = external_path()
    scores = scored(read_external(path), sha256_file(bundle.folder / GRAPH)) if path.exists() else None
    for test in scores.tests if scores else ():
        of = _Tested(test.name, "external", test.images, test.melanomas)
        found.append(of.result("roc_auc", test.auroc, "AUROC"))
        for rate, value in (("sensitivity", test.sensitivity), ("specificity", test.specificity)):
            found.append(of.result(rate, value, f"{rate} at the default threshold"))
    return found


@dataclass(frozen=True)
class _Tested:
    """Images that figures are of."""

    dataset: str
    kind: str
    images: int
    melanomas: int

    def result(self, metric: str, value: float, what: str) -> EvalResult:
        """One figure, as the hub has it."""
        return EvalResult(
            task_type="image-classification", task_name="melanoma against the rest", dataset_type=self.kind,
            dataset_name=f"{self.dataset} ({self.images:,} images, {self.melanomas:,} melanomas)", metric_type=metric,
            metric_value=round(value, 4), metric_name=what,
        )  # fmt: skip


def _loading(header: AnyHeader, architecture: str | None) -> str:
    """How to load what lies here, as Markdown."""
    ours = f"""```python
import dermdistill

classifier = dermdistill.load_module("FOLDER")  # RGB uint8 [N, 3, H, W] to logits [N, {len(header.classes)}]
```"""
    if architecture is None:
        return f"""## Load it

FOLDER is this repository's files, as `huggingface_hub.snapshot_download` brings them.

{ours}"""
    registered = "import dermdistill.networks.timm_cut  # makes the name known to timm\n"
    return f"""## Load it

FOLDER is this repository's files, as `huggingface_hub.snapshot_download` brings them.

```python
import timm
{registered if architecture == timm_cut.NAME else ""}
network = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
```

The network gives logits. {_calibrated(header)}

{_without_us(header) if architecture == timm_cut.NAME else ""}{ours}"""


def _calibrated(header: AnyHeader) -> str:
    """How calibrated probabilities are made, as Markdown."""
    if header.calibration is None:
        return f"Divide them by {header.temperature:.6f} before the softmax for calibrated probabilities."
    return (
        f"The key `calibration` of `bundle.json` holds the {header.calibration.method} calibration that makes "
        "probabilities of them; `model.onnx`, and `probabilities` of the module below, apply it."
    )


def _without_us(header: AnyHeader) -> str:
    return f"""Without dermdistill:

```python
from functools import partial

import huggingface_hub, torch
from timm.models.efficientnet import EfficientNet, decode_arch_def

stages = {list(timm_cut.STAGES)}
network = EfficientNet(
    decode_arch_def([[stage] for stage in stages]),
    num_classes={len(header.classes)}, num_features={timm_cut.HEAD}, stem_size=32, fix_stem=True, pad_type="same",
    act_layer=torch.nn.ReLU6, norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-3),
)
huggingface_hub.load_torch_model(network, "FOLDER/model.safetensors", strict=True)
```

"""

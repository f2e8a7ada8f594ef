"""The model card and the licence of the weights, rendered from facts."""

import json
from pathlib import Path

from dermdistill.classes import CLASS_NAMES
from dermdistill.data.sources import SOURCES, source_name
from dermdistill.evaluate.analyses.data import Data
from dermdistill.evaluate.analyses.headline import Model
from dermdistill.evaluate.document import load_report
from dermdistill.evaluate.intervals import Counted, Figure
from dermdistill.evaluate.render.text import group_name, interval
from dermdistill.files import read_json, sha256_file, write_json, write_text
from dermdistill.licences import kind_of
from dermdistill.predict.gate import GateFacts
from dermdistill.predict.header import BundleHeader
from dermdistill.run import TrainedHeader

CARD = "MODEL_CARD.md"


def model_card(bundle: BundleHeader, header: TrainedHeader, report: str | Path | None) -> str:
    """A Markdown model card: use, data, training, figures, limits.

    Args:
        bundle: the contents of bundle.json; its `files` are not read.
        header: the run's header.
        report: a report.json, or None for a card without figures.
    """
    data, model, size = bundle.data, bundle.model, bundle.input.size
    recipe = {key: value for key, value in header.recipe.items() if key != "weights_file"}  # a path of this machine
    classes = ", ".join(f"`{name}` ({CLASS_NAMES.get(name, 'not melanoma')})" for name in bundle.classes)
    citations = "\n".join(
        f"- {source_name(name)}: {SOURCES[name].citation}" for name in data.sources if name in SOURCES
    )
    thresholds = "\n".join(
        f"| `{name}` | {point.value:.4f} | {_percent(point.sensitivity)} | {_percent(point.specificity)} |"
        for name, point in bundle.thresholds.items()
    )
    chosen = "images out of fold" if _crossed(bundle) else "validation images"
    synthetic = "**SYNTHETIC: trained on generated images; it knows nothing about skin.**\n\n" if data.synthetic else ""
    return f"""# {bundle.name}

**{bundle.intended_use}**

{synthetic}A classifier of dermoscopic images with {model.parameters:,} parameters and
{model.macs / 1e6:.1f} million multiply-accumulates an image, made by dermdistill {bundle.version}.

## Use

- Input: one RGB dermoscopic image with the lesion in its middle, a whole frame or a crop around the lesion, resized to
  {size}x{size} px without keeping the aspect ratio.
- Output: the probability of each class: {classes}. {_calibration(bundle)}, fitted on {chosen}.
- Intended for research on model compression and dermoscopy. Not for diagnosis, triage or treatment.

| threshold | melanoma probability | sensitivity on {chosen} | specificity on {chosen} |
|---|---|---|---|
{thresholds}

## Data

- Sources: {", ".join(map(source_name, data.sources))}; licences of the images: {", ".join(data.licences) or "unknown"}.
{_of_teachers(bundle)}- Images: {", ".join(f"{count} {role}" for role, count in data.images.items())}.
- SHA-256 of the manifest `{data.manifest_sha256}`, of the splits `{data.splits_sha256}`.

{citations}

## Training

- Architecture `{model.name}`, seed {header.seed}, hardware: {header.hardware}.
{_teachers(header)}- Recipe, resolved:

```json
{json.dumps(recipe, indent=2)}
```

## Figures

{_figures(header.name, report)}

## Limits

- Trained and tested on few clinics and cameras; accuracy on others is lower and not known.
- Dark skin, children, mucosa, nails and non-pigmented melanomas are rare or absent in the data.
- The network gives a probability for any picture, for one that is not dermoscopic or shows no lesion too. A gate, where
  the bundle has one, refuses most pictures that are not dermoscopic.
- Nevi in HAM10000 were mostly not confirmed by histology, melanomas were: part of what looks like accuracy may be that.

## Licence

Code: {bundle.licence.code}. Weights: {bundle.licence.weights}, see LICENSE-WEIGHTS.txt.
"""


def _teachers(header: TrainedHeader) -> str:
    """Whose soft labels it learned, as a line; nothing for a teacher, or where its run does not say."""
    if "taught_by" not in header.model_fields_set:
        return ""
    found = [f"`{of.model}` at {of.image_size} px (`{of.model_sha256[:12]}`)" for of in header.taught_by]
    return f"- Soft labels: {'the average of ' if len(found) > 1 else ''}{', '.join(found) or 'none'}.\n"


def _of_teachers(bundle: BundleHeader) -> str:
    """The licences of the images that its teachers learned from, as a line; nothing without teachers."""
    found = bundle.data.teachers_licences
    return f"- Licences of the images that its teachers learned from: {', '.join(found)}.\n" if found else ""


def _crossed(bundle: BundleHeader) -> bool:
    return any(point.chosen_on == "out-of-fold" for point in bundle.thresholds.values())


def _figures(name: str, report: str | Path | None) -> str:
    if report is None:
        return "No report was given when this bundle was made."
    content = load_report(report)
    own = content.models.get(name)
    if own is None:
        return f"The report has no figures of '{name}'."
    lines = ["| figure | value | 95 % interval |", "|---|---|---|"]
    for metric, figure in own.metrics.items():
        if figure.value is not None:
            between = "undefined" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
            lines.append(f"| {metric} | {figure.value:.3f} | {between} |")
    of = content.data
    how = ", each by a network of this recipe that never saw it" if own.parts else ""
    lines.append(
        f"\nOn {of.n} held-out images with {of.positives} melanomas{how} (manifest "
        f"`{of.manifest_sha256[:16]}`); intervals by lesion-clustered bootstrap."
    )
    if content.within is not None and name in content.within.models:
        inside = _interval(content.within.models[name].auroc)
        where = "where a melanoma is compared only with others of its clinic or camera"
        lines.append(f"\nWithin collections, {where}: AUROC {inside}.")
    return "\n".join([*lines, "", *_operation(own, of), "", *_subgroups(own.subgroups)])


_CALIBRATIONS = {
    "vector": "Logits are scaled and shifted class by class (vector scaling)",
    "dirichlet": "Log-probabilities are mapped together (Dirichlet calibration)",
    "isotonic": "The melanoma probability is mapped by rising steps (isotonic calibration)",
    "beta": "The melanoma probability is mapped by three parameters (beta calibration)",
}


def _calibration(bundle: BundleHeader) -> str:
    if bundle.calibration is not None:
        return _CALIBRATIONS[bundle.calibration.method]
    return f"Probabilities are divided by a temperature of\n  {bundle.temperature:.3f}"


def _operation(own: Model, of: Data) -> list[str]:
    """What the thresholds gave on images that did not choose them."""
    lines = [f"| threshold | sensitivity | specificity | PPV at {_percent(of.positives / of.n)} melanomas |",
             "|---|---|---|---|"]  # fmt: skip
    for name, rates in own.realised.items():
        lines.append(
            f"| `{name}` | {' | '.join(_interval(rates[key]) for key in ('sensitivity', 'specificity', 'ppv'))} |"
        )
    return lines


def _subgroups(found: dict[str, Counted]) -> list[str]:
    """The AUROC of each subgroup that has enough images."""
    lines = ["| subgroup | images | melanomas | AUROC |", "|---|---|---|---|"]
    for name, entry in found.items():
        if entry.value is not None:
            lines.append(f"| {group_name(name)} | {entry.n} | {entry.positives} | {_interval(entry)} |")
    return lines


def _interval(figure: Figure) -> str:
    return "undefined" if figure.value is None else interval(figure)


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f} %"


def weights_licence(bundle: BundleHeader) -> str:
    """The text of LICENSE-WEIGHTS.txt."""
    sources = "\n".join(
        f"  {source_name(name)}: {SOURCES[name].citation}" for name in bundle.data.sources if name in SOURCES
    )
    note = ""
    if kind_of(bundle.licence.weights) == "CC BY-NC":
        note = (
            "\nThe weights, or those of its teachers, were learned from images under a non-commercial licence.\n"
            "They are passed on under the same condition: attribution to the sources below, no commercial use.\n"
            "CC BY-NC 4.0: https://creativecommons.org/licenses/by-nc/4.0/\n"
        )
    return (
        f"Licence of the weights of '{bundle.name}': {bundle.licence.weights}\n{note}\n"
        f"Sources:\n{sources}\n\nThe code of dermdistill is under Apache-2.0.\n\n{bundle.intended_use}\n"
    )


def gate_text(facts: GateFacts) -> str:
    """What a model card says of the bundle's gate, as Markdown without a heading."""
    return (
        "`gate.onnx` looks at an image first, and refuses one that is not dermoscopic, is blurred, too dark or too "
        "bright, or is white or black in large parts. `dermdistill predict` and `serve` then give the reasons and no "
        "probability. "
        f"It was fitted on {facts.images:,} dermoscopic images ({', '.join(facts.licences) or 'licences unknown'}) and "
        f"{facts.generated:,} generated ones. It refuses some good images, lets some bad ones pass, and does not look "
        "for a lesion. Who runs `model.onnx` or the weights by other means asks no gate: the limits below are then "
        "those of the network alone."
    )


def put_section(bundle: Path, heading: str, text: str) -> None:
    """Put a section into the model card of a bundle, in place of one with its heading, and renew the card's hash."""
    header = read_json(bundle / "bundle.json")
    card = bundle / CARD
    before, _, rest = card.read_text(encoding="utf-8").partition(f"{heading}\n")
    if rest:
        _, mark, after = rest.partition("\n## ")
        after = mark.lstrip() + after
    else:
        before, mark, after = before.partition("## Limits\n")
        after = mark + after
    write_text(card, f"{before}{heading}\n\n{text}\n\n{after}")
    header["files"][CARD] = sha256_file(card)
    write_json(bundle / "bundle.json", header)

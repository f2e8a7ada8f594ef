"""The report's tables as heads and rows of text, for Markdown and HTML alike."""

from typing import Any

from dermdistill.khan2022.grid import NOT_RUN, Grid, accuracy, failures, markdown_table, mean_sd, number, pairs
from dermdistill.khan2022.measures import spread
from dermdistill.khan2022.table_2 import beside_grids, reasons_grid, table_2, timing_grid
from dermdistill.khan2022.tables import differences


def is_begun(report: dict[str, Any], table: str) -> bool:
    """Whether a row of a table was run, to its end or until it failed; beside Table 2, one that is not in it, too."""
    entries = report["tables"][table]
    known = {result["run"] for entry in report["tables"]["2"] for result in entry["seeds"]} if table != "2" else set()
    return any(entry["failed"] or any(result["run"] not in known for result in entry["seeds"]) for entry in entries)


def grids(report: dict[str, Any]) -> list[Grid]:
    """All tables of a report; those of which nothing was run are left out."""
    found = [_systems(report)]
    if is_begun(report, "2"):
        found += [table_2(report), *beside_grids(report), reasons_grid(report)]
    if report["timing"] is not None:
        found.append(timing_grid(report))
    found += [sweep_grid(report, name) for name in ("temperature", "batch") if is_begun(report, name)]
    if report["leak"]:
        found.append(leak_grid(report))
    if is_begun(report, "ablation"):
        found.append(ablation_grid(report))
    return found


def _systems(report: dict[str, Any]) -> Grid:
    rows = [
        [
            entry["title"], f"{entry['published_parameters']:,}", f"{entry['parameters']:,}",
            f"{entry['keras_parameters']:,}", f"{entry['fp32_bytes'] / 1e6:.1f}", entry["explanation"],
        ]
        for entry in report["systems"]
    ]  # fmt: skip
    head = ["system", "published", "ours", "ours as Keras counts", "MB (fp32)", "why they differ"]
    return Grid("Parameters", head, rows, ["With the paper's head, two classes, 224 px."])


def sweep_grid(report: dict[str, Any], name: str) -> Grid:
    """A sweep over temperatures or batch sizes, both protocols beside the published accuracies."""
    rows = [
        [
            entry["name"], number(entry["published_accuracy"], 4), accuracy(faulty), accuracy(entry),
            mean_sd(faulty["summary"]["auroc"]), mean_sd(entry["summary"]["auroc"]),
            mean_sd(faulty["summary"]["gradient_share"], 5), mean_sd(entry["summary"]["gradient_share"]),
        ]
        for faulty, entry in pairs(report["tables"][name])
    ]  # fmt: skip
    head = [
        "row", "published accuracy", "accuracy, as published", "accuracy, corrected", "AUROC, as published",
        "AUROC, corrected", "gradient share of the soft term, as published", "the same, corrected",
    ]  # fmt: skip
    notes = []
    for protocol, choice in report["choices"][name].items():
        if choice is not None:
            notes.append(
                f"{protocol}: chosen on the test images, {choice['on_test']} with accuracy "
                f"{choice['accuracy_on_test']:.3f}; chosen on the validation images, {choice['on_validation']} with "
                f"{choice['accuracy_on_validation']:.3f}. The choice on test images is worth {choice['gain']:+.3f}."
            )
    title = {"temperature": "Temperatures", "batch": "Batch sizes"}[name]
    return Grid(title, head, rows, notes + failures(report["tables"][name]))


def leak_grid(report: dict[str, Any]) -> Grid:
    """What a random split is worth: seed by seed, and the mean with its spread."""
    seeds = report["leak"]["seeds"]
    rows = []
    for one in seeds:
        gaps = leak_gaps(one)
        rows.append([
            str(one["seed"]), f"{one['random']['melanomas_seen']} of "
            f"{one['random']['melanomas_seen'] + one['random']['melanomas_unseen']}",
            *(number(one["random"][key]) for key in ("auroc_seen", "auroc_unseen")), _signed(gaps["random"]),
            *(number(one["lesion"][key]) for key in ("auroc_several", "auroc_single")), _signed(gaps["lesion"]),
            _signed(gaps["leak"]), _signed(gaps["whole"]),
        ])  # fmt: skip
    columns = [leak_gaps(one) for one in seeds]
    means = {key: mean_sd(spread([gaps[key] for gaps in columns]), signed=True) for key in columns[0]}
    rows.append(["mean ± SD (seeds)", "", "", "", means["random"], "", "", means["lesion"], means["leak"],
                 means["whole"]])  # fmt: skip
    head = [
        "seed", "random split: melanomas whose lesion was trained on", "AUROC of these", "of the others", "difference",
        "split by lesion: AUROC of melanomas photographed several times", "of the others", "difference",
        "random minus by lesion", "AUROC of all test images, random minus by lesion",
    ]  # fmt: skip
    notes = [
        "DSNet, corrected but for the split. Each kind of melanoma is compared with all benign test images. Lesions "
        "that are photographed several times are another kind of lesion, whether or not they were trained on: the "
        "difference that the split by lesion shows too is therefore subtracted. What is left is what a random split is "
        "worth on those lesions. Both splits are paired by seed; their test images are others.",
    ]
    return Grid("What a random split is worth", head, rows, notes)


def leak_gaps(one: dict[str, Any]) -> dict[str, float | None]:
    """One seed's differences in AUROC; None where one of both is undefined."""
    random = _minus(one["random"]["auroc_seen"], one["random"]["auroc_unseen"])
    lesion = _minus(one["lesion"]["auroc_several"], one["lesion"]["auroc_single"])
    whole = _minus(one["random"]["auroc"], one["lesion"]["auroc"])
    return {"random": random, "lesion": lesion, "leak": _minus(random, lesion), "whole": whole}


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def ablation_grid(report: dict[str, Any]) -> Grid:
    """What each fault does, with its differences to 'corrected'."""
    entries = [entry for entry in report["tables"]["ablation"] if entry["seeds"] or entry["failed"]]
    gaps = {key: differences(entries, key) for key in ("accuracy", "auroc", "ece")}
    rows = []
    for entry in entries:
        of = entry["summary"]
        gap = {
            key: "" if entry["name"] == "corrected" or not gaps[key] else mean_sd(gaps[key][entry["name"]], signed=True)
            for key in gaps
        }
        rows.append([
            entry["name"], mean_sd(of["mass"], 6) if entry["distilled"] else "no soft term",
            _range(of), mean_sd(of["value_share"], 5), mean_sd(of["gradient_share"], 5),
            accuracy(entry), gap["accuracy"], mean_sd(of["auroc"]), gap["auroc"], mean_sd(of["ece"]), gap["ece"],
            mean_sd(of["seen"]),
        ])  # fmt: skip
    head = [
        "fault turned on", "soft-target mass per row", "probabilities within", "share of the soft term in the loss",
        "in the gradient", "accuracy", "minus corrected", "AUROC", "minus corrected", "ECE", "minus corrected",
        "share of test images whose lesion was trained on",
    ]  # fmt: skip
    notes = [
        "DSNet, the same settings in every row. Mean ± standard deviation over seeds (how many); each seed divides the "
        "images anew, so that the spread holds that of the test images. Differences are paired by seed; with a random "
        "split the test images are others.",
        "The loss is a cross-entropy, whose value holds the entropy of the soft targets: what the soft term can teach "
        "is its share in the gradient.",
    ]
    return Grid("Ablation: what each fault does", head, rows, notes + failures(entries))


def _range(summary: dict[str, Any]) -> str:
    low, high = summary["lowest"]["least"], summary["highest"]["most"]
    return NOT_RUN if low is None else f"{low:.3f} to {high:.3f}"


def markdown(report: dict[str, Any]) -> str:
    """The whole report as Markdown."""
    data, settings = report["data"], report["settings"]
    lines = ["# Khan et al. 2022, made again", ""]
    if data["synthetic"]:
        lines += ["**SYNTHETIC IMAGES. These figures test the path; they say nothing about skin.**", ""]
    lines += [
        f"Published numbers: {report['source']}.", "",
        *(f"- {note}" for note in data["notes"]),
        f"- {settings['image_size']} px; teacher {settings['teacher']}; initial weights: {report['weights']}.",
        f"- Epochs: teacher {settings['teaching']['epochs']}, backbones alone {settings['backbone_alone']['epochs']}, "
        f"students {settings['student']['epochs']}.",
        f"- {report['hardware']}; computed on {report['device']}.",
        f"- Images `{data['sha256'][:16]}`, commit `{(report['git_commit'] or 'unknown')[:12]}`.", "",
    ]  # fmt: skip
    for grid in grids(report):
        lines += [f"## {grid.title}", "", *markdown_table(grid), ""]
        lines += [line for note in grid.notes for line in (note, "")]
    lines.append(report["disclaimer"])
    return "\n".join(lines) + "\n"

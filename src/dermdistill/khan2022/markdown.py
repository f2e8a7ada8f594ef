"""The report's tables as heads and rows of text, for Markdown and HTML alike."""

from dataclasses import dataclass
from typing import Any

from dermdistill.khan2022.published import TABLE_2
from dermdistill.khan2022.tables import PROTOCOLS, differences

_NOT_RUN = "–"


@dataclass(frozen=True)
class Grid:
    """A table as text."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def grids(report: dict[str, Any]) -> list[Grid]:
    """All tables of a report; those of which nothing was run are left out."""
    found = [_systems(report)]
    makers = {"2": _table_2, "temperature": _sweep, "batch": _sweep, "ablation": ablation_grid}
    for name, make in makers.items():
        if any(entry["seeds"] or entry["failed"] for entry in report["tables"][name]):
            found.append(make(report, name))
    if report["timing"] is not None:
        found.append(timing_grid(report))
    return found


def mean_sd(spread: dict[str, Any], places: int = 3, signed: bool = False) -> str:
    """Mean ± standard deviation (seeds); the mean alone of one seed."""
    if spread["mean"] is None:
        return _NOT_RUN
    sign = "+" if signed else ""
    text = f"{spread['mean']:{sign}.{places}f}"
    return text if spread["sd"] is None else f"{text} ± {spread['sd']:.{places}f} ({spread['n']})"


def number(value: float | None, places: int = 3) -> str:
    """A published number, or a dash where none is known."""
    return _NOT_RUN if value is None else f"{value:.{places}f}"


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


def _pairs(entries: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The same row as published and corrected."""
    published, corrected = ([entry for entry in entries if entry["protocol"] == protocol] for protocol in PROTOCOLS)
    return list(zip(published, corrected, strict=True))


def _one(entry: dict[str, Any], key: str) -> Any:
    return entry["seeds"][0][key] if entry["seeds"] else None


def _table_2(report: dict[str, Any], _: str) -> Grid:
    rows = []
    for faulty, entry in _pairs(report["tables"]["2"]):
        published = TABLE_2.get(entry["system"])
        size = _one(entry, "fp32_bytes") or _one(faulty, "fp32_bytes")
        macs = _one(entry, "macs") or _one(faulty, "macs")
        count = _one(entry, "parameters") or _one(faulty, "parameters")
        rows.append([
            entry["name"], number(entry["published_accuracy"]), _accuracy(faulty), _accuracy(entry),
            mean_sd(entry["summary"]["auroc"]), mean_sd(entry["summary"]["ece"]),
            number(published.training_seconds if published else None, 0),
            mean_sd(entry["summary"]["training_seconds"], 0),
            f"{count:,}" if count else _NOT_RUN, f"{macs / 1e6:,.0f}" if macs else _NOT_RUN,
            f"{size / 1e6:.1f}" if size else _NOT_RUN,
        ])  # fmt: skip
    head = [
        "row", "published accuracy", "accuracy, as published", "accuracy, corrected", "AUROC, corrected",
        "ECE, corrected", "published training s", "training s", "parameters", "million MACs", "MB (fp32)",
    ]  # fmt: skip
    notes = [
        "The published table has one accuracy for each system; it stands beside both of our rows, with and without "
        "distillation. Training seconds are of other machines and other numbers of images: compare within a column.",
    ]
    return Grid("Table 2", head, rows, notes + _failures(report["tables"]["2"]))


def _accuracy(entry: dict[str, Any]) -> str:
    return "failed" if entry["failed"] and not entry["seeds"] else mean_sd(entry["summary"]["accuracy"])


def _sweep(report: dict[str, Any], name: str) -> Grid:
    rows = [
        [
            entry["name"], number(entry["published_accuracy"], 4), _accuracy(faulty), _accuracy(entry),
            mean_sd(entry["summary"]["auroc"]), mean_sd(entry["summary"]["ece"]),
            mean_sd(faulty["summary"]["gradient_share"], 5), mean_sd(entry["summary"]["gradient_share"]),
        ]
        for faulty, entry in _pairs(report["tables"][name])
    ]  # fmt: skip
    head = [
        "row", "published accuracy", "accuracy, as published", "accuracy, corrected", "AUROC, corrected",
        "ECE, corrected", "gradient share of the soft term, as published", "the same, corrected",
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
    return Grid(title, head, rows, notes + _failures(report["tables"][name]))


def ablation_grid(report: dict[str, Any], _: str = "ablation") -> Grid:
    """What each fault does, with its differences to 'corrected'."""
    entries = report["tables"]["ablation"]
    gaps = {key: differences(entries, key) for key in ("accuracy", "auroc", "ece")}
    rows = []
    for entry in entries:
        of = entry["summary"]
        gap = {
            key: "" if entry["name"] == "corrected" else mean_sd(gaps[key][entry["name"]], signed=True) for key in gaps
        }
        rows.append([
            entry["name"], mean_sd(of["mass"], 6) if entry["distilled"] else "no soft term",
            _range(of), mean_sd(of["value_share"], 5), mean_sd(of["gradient_share"], 5),
            _accuracy(entry), gap["accuracy"], mean_sd(of["auroc"]), gap["auroc"], mean_sd(of["ece"]), gap["ece"],
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
    unseen = next((entry for entry in entries if entry["name"] == "random-split"), None)
    if unseen and unseen["summary"]["auroc_seen"]["mean"] is not None:
        notes.append(
            f"Random split: AUROC {mean_sd(unseen['summary']['auroc_seen'])} on test images whose lesion was trained "
            "on, "
            f"{mean_sd(unseen['summary']['auroc_unseen'])} on the others."
        )
    return Grid("Ablation: what each fault does", head, rows, notes + _failures(entries))


def _range(summary: dict[str, Any]) -> str:
    low, high = summary["lowest"]["least"], summary["highest"]["most"]
    return _NOT_RUN if low is None else f"{low:.3f} to {high:.3f}"


def beside_grid(report: dict[str, Any]) -> Grid:
    """The published table beside ours: every system's parameters, accuracy and training time where it was run."""
    pairs, rows = _pairs(report["tables"]["2"]), []
    for system in report["systems"]:
        published = TABLE_2[system["name"]]
        mine = [pair for pair in pairs if pair[1]["system"] == system["name"] and pair[1]["name"] != "teacher"]
        kinds = {corrected["distilled"]: (faulty, corrected) for faulty, corrected in mine}
        ours = [_accuracy(entry) for distilled in (True, False) for entry in kinds.get(distilled, ())]
        trained = kinds[True][1]["summary"]["training_seconds"] if kinds else None
        rows.append([
            system["title"], f"{published.parameters:,}", f"{system['keras_parameters']:,}",
            number(published.training_seconds, 0), mean_sd(trained, 0) if trained else _NOT_RUN,
            number(published.accuracy), *(ours or [_NOT_RUN] * 4),
        ])  # fmt: skip
    head = [
        "system", "published parameters", "ours, as Keras counts, at 224 px", "published training s",
        "ours, distilled and corrected", "published accuracy", "ours, distilled, as published",
        "distilled, corrected", "alone, as published", "alone, corrected",
    ]  # fmt: skip
    notes = [
        f"{_NOT_RUN}: not run with these settings. The images, their number and the machine are not the paper's: our "
        "columns can be compared with each other; a difference to the published ones need not come from the protocol.",
    ]
    return Grid("The published table beside ours", head, rows, notes)


def timing_grid(report: dict[str, Any]) -> Grid:
    """Prediction times beside the published ones, with their ratios to DSNet."""
    timing, asked = report["timing"], report["timing"]["asked"]
    base = TABLE_2["dsnet"].prediction_seconds
    rows = []
    for name, found in timing["systems"].items():
        published = TABLE_2.get(name)
        seconds = published.prediction_seconds if published else None
        rows.append([
            name, number(seconds, 2), number(seconds / base if seconds else None, 2),
            f"{found['forward_seconds']:.2f}", number(found["forward_ratio"], 2),
            f"{found['with_decoding_seconds']:.2f}", number(found["with_decoding_ratio"], 2),
        ])  # fmt: skip
    head = [
        "system", "published s", "ratio to DSNet", "s, decode excluded", "ratio to DSNet", "s, decode included",
        "ratio to DSNet",
    ]  # fmt: skip
    notes = [
        f"Seconds for {timing['for_images']:,} images of {asked['image_size']} px: median of {asked['repeats']} "
        f"repetitions with {asked['images']:,} images, batches of {asked['batch_size']}, all systems in one run on the "
        f"same batches, warm. {asked['hardware']}, {asked['device']}, {asked['threads']} threads. Decoding alone: "
        f"{timing['decode_seconds']:.2f} s, one image after the other.",
    ]
    return Grid("Prediction times", head, rows, notes)


def _failures(entries: list[dict[str, Any]]) -> list[str]:
    return [
        f"{entry['name']}{', ' + entry['protocol'] if entry['protocol'] else ''}: {reason}"
        for entry in entries
        for reason in entry["failed"]
    ]


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


def markdown_table(grid: Grid) -> list[str]:
    """A table's lines in Markdown."""
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [grid.head, *grid.rows]]
    return [rows[0], "|" + "---|" * len(grid.head), *rows[1:]]

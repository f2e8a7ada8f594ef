"""Table 2 as it was published beside ours, why the figures differ, and our student in the same table."""

from typing import Any

from dermdistill.khan2022.grid import NOT_RUN, Grid, accuracy, failures, interval, mean_sd, number, pairs
from dermdistill.khan2022.published import TABLE_2, TRAINING_ROWS
from dermdistill.khan2022.recipe import FULL, timed_name
from dermdistill.khan2022.systems import SYSTEMS

Entry = dict[str, Any]
Report = dict[str, Any]


def table_2(report: Report, _: str = "2") -> Grid:
    """The columns of the published table, each with ours beside it, and those that it lacks."""
    entries, timing = report["tables"]["2"], report["timing"]
    rows = [_row(faulty, entry, report) for faulty, entry in pairs(entries)]
    rows += [_student_row(student, timing) for student in _students(report)]
    head = [
        "row", "px", "parameters, published", "ours", "training s, published", "ours",
        "prediction s for 3,000 images, published", "ours", "accuracy, published", "ours, as published",
        "ours, corrected", "AUROC, corrected", "million MACs", "MB",
    ]  # fmt: skip
    notes = [
        "The published table has one line for each system; it stands beside both of our rows, with distillation and "
        "alone. In brackets are 95 % intervals of the first seed, lesions drawn with replacement; with several seeds "
        "the mean ± standard deviation (seeds) stands before them. Parameters are PyTorch's at this image size, MB "
        "those of 32-bit weights, of our student those of its ONNX file. Seconds are of other machines and other "
        "numbers of images than the paper's: compare within a column.",
    ]
    if timing:
        notes.append(_clock_note(timing))
    notes += [_judged_note(student) for student in _students(report)]
    return Grid("Table 2", head, rows, notes + failures(entries))


def _row(faulty: Entry, entry: Entry, report: Report) -> list[str]:
    published = TABLE_2.get(entry["system"])
    done = entry["seeds"] or faulty["seeds"]
    cost = {key: done[0][key] if done else None for key in ("parameters", "macs", "fp32_bytes")}
    return [
        entry["name"], str(entry["image_size"]),
        number(published.parameters if published else None, 0), number(cost["parameters"], 0),
        number(published.training_seconds if published else None, 0), mean_sd(entry["summary"]["training_seconds"], 0),
        number(published.prediction_seconds if published else None, 2),
        number(seconds_of(report["timing"], entry), 2),
        number(entry["published_accuracy"]), accuracy(faulty), accuracy(entry), auroc_cell(entry),
        number(cost["macs"] and cost["macs"] / 1e6, 0), number(cost["fp32_bytes"] and cost["fp32_bytes"] / 1e6, 1),
    ]  # fmt: skip


def auroc_cell(entry: Entry) -> str:
    """Mean ± standard deviation of several seeds, and the first one's 95 % interval."""
    if not entry["seeds"]:
        return NOT_RUN
    first = interval(entry["seeds"][0]["test"]["auroc"])
    return first if len(entry["seeds"]) == 1 else f"{mean_sd(entry['summary']['auroc'])}; {first}"


def seconds_of(timing: dict[str, Any] | None, entry: Entry) -> float | None:
    """A row's prediction time for 3,000 images without decoding, if its system was timed at its size."""
    if not timing:
        return None
    size = timing["asked"]["image_size"]
    found = timing["systems"].get(timed_name(entry["system"], entry["image_size"], size))
    return found["forward_seconds"] if found else None


def _students(report: Report) -> list[dict[str, Any]]:
    return report["beside"]["students"] if report["beside"] else []


def judged(student: dict[str, Any]) -> dict[str, Any]:
    """A student's figures on the test images of the corrected division that it has not seen; empty without any."""
    found = student["sets"].get("corrected")
    return found if found and found["student"] else {}


def _student_row(student: dict[str, Any], timing: dict[str, Any] | None) -> list[str]:
    timed = (timing or {}).get("beside", {}).get(f"{student['name']}, ONNX Runtime")
    found, figures = judged(student), NOT_RUN
    right = NOT_RUN
    if found:
        of = found["student"]
        figures = f"{interval(of['auroc'])} on {found['n']} images"
        right = f"{number(of['accuracy_threshold']['value'])} at its threshold"
        if of["accuracy_balanced"]:
            right += f", {number(of['accuracy_balanced']['value'])} at the balanced point"
    return [
        f"{student['name']}, ours", str(student["image_size"]), NOT_RUN, number(student["parameters"], 0), NOT_RUN,
        NOT_RUN, NOT_RUN, number(timed["forward_seconds"] if timed else None, 2), NOT_RUN, NOT_RUN, right, figures,
        number(student["macs"] / 1e6, 0), number(student["bytes"] / 1e6, 1),
    ]  # fmt: skip


def _clock_note(timing: dict[str, Any]) -> str:
    asked = timing["asked"]
    text = (
        f"Prediction: without decoding, {asked['device']}, {asked['threads']} "
        f"thread{'' if asked['threads'] == 1 else 's'}, all in one run."
    )
    return text + (" Our student ran in ONNX Runtime on one thread." if timing.get("beside") else "")


def _judged_note(student: dict[str, Any]) -> str:
    found = judged(student)
    if student["reason"]:
        return f"{student['name']} is counted and timed, not judged: {student['reason']}."
    if not found:
        return f"{student['name']} is not judged: no row of Table 2 is done, or no test image is unseen by it."
    of = found["student"]
    text = (
        f"{student['name']} learned from {student['learned_from']:,} images and is judged "
        f"on the {found['n']} test images ({found['malignant']} melanomas) that it has not seen: compare it in the "
        f"next table. Its threshold is {student['threshold']} ({of['cuts']['threshold']:.3f}; accuracy "
        f"{interval(of['accuracy_threshold'])}), chosen on the fold that these images belong to"
    )
    if of["cuts"]["balanced"] is not None:
        text += (
            f"; the balanced point ({of['cuts']['balanced']:.3f}) was chosen on {of['balanced_chosen_on']} other "
            "images that it has not seen"
        )
    return text + "."


# ---------------------------------------------------------------- our student beside them, on the same images


def beside_grids(report: Report) -> list[Grid]:
    """For each judged student and protocol, every row on the images that the student has not seen."""
    return [
        _beside_grid(student, protocol, found)
        for student in _students(report)
        for protocol, found in student["sets"].items()
        if found["student"]
    ]


def _beside_grid(student: dict[str, Any], protocol: str, found: dict[str, Any]) -> Grid:
    of, name = found["student"], student["name"]
    right = interval(of["accuracy_balanced"]) if of["accuracy_balanced"] else NOT_RUN
    rows = [[f"{name}, ours", interval(of["auroc"]), "", right, ""]]
    for row in found["rows"]:
        gap = interval(row["accuracy_gap"], signed=True) if row["accuracy_gap"] else NOT_RUN
        rows.append([row["name"], interval(row["auroc"]), interval(row["auroc_gap"], signed=True),
                     interval(row["accuracy"]), gap])  # fmt: skip
    head = ["row", "AUROC", f"{name} minus it", "accuracy", f"{name} minus it"]
    notes = [
        f"{found['n']} test images of seed 0, {found['malignant']} of them melanomas; all rows on the same ones, "
        "differences paired, 95 % intervals over lesions. The student's accuracy is that at the balanced point. It "
        f"learned from {student['learned_from']:,} images of {student['image_size']} px: the difference is that of two "
        "whole ways of training, not of two networks.",
    ]
    if protocol == "as-published":
        notes.append("Here the other networks have learned from other photographs of some of these lesions.")
    return Grid(f"On the images that our student has not seen, {protocol}", head, rows, notes)


# ---------------------------------------------------------------- why


def reasons_grid(report: Report) -> Grid:
    """The published accuracy beside ours, and for each row what is known to differ."""
    rows = []
    for faulty, entry in pairs(report["tables"]["2"]):
        published = entry["published_accuracy"]
        if not (entry["seeds"] or faulty["seeds"]) or published is None:
            continue
        gaps = [_gap(one["summary"]["accuracy"]["mean"], published) for one in (faulty, entry)]
        rows.append([entry["name"], number(published), *gaps, "; ".join(reasons(entry, faulty, report["settings"]))])
    head = ["row", "published accuracy", "ours minus it, as published", "ours minus it, corrected", "what differs"]
    notes = [
        "These are the known differences, not their shares: what each is worth could be told only by runs that change "
        "one at a time, as the ablation does for DSNet. The paper's images are another, larger set.",
    ]
    return Grid("Why our accuracies differ from the published ones", head, rows, notes)


def _gap(ours: float | None, published: float) -> str:
    return NOT_RUN if ours is None else f"{ours - published:+.3f}"


def reasons(entry: Entry, faulty: Entry, settings: dict[str, Any]) -> list[str]:
    """What is known to differ between a row and the paper's, from the settings and the runs themselves."""
    result = (entry["seeds"] or faulty["seeds"])[0]
    found = []
    if entry["system"] != "dsnet" and result["initial_weights"] == "none":
        found.append("begins from scratch, in the paper from ImageNet weights")
    if entry["image_size"] != FULL.image_size:
        found.append(f"{entry['image_size']} px, not {FULL.image_size}")
    count = result["images"]["train_benign"] + result["images"]["train_malignant"]
    if count != TRAINING_ROWS:
        found.append(f"{count:,} training images, not {TRAINING_ROWS:,}")
    epochs = _published_epochs(entry)
    if entry["training"]["epochs"] != epochs:
        found.append(f"{entry['training']['epochs']} epochs, not {epochs}")
    if entry["distilled"] and settings["teacher"] != FULL.teacher:
        found.append(f"taught by {SYSTEMS[settings['teacher']].title}, not {SYSTEMS[FULL.teacher].title}")
    if entry["seeds"]:
        found.append("corrected: no lesion stands on both sides of the division")
    return found


def _published_epochs(entry: Entry) -> int:
    """Those of the same kind of row in the paper."""
    if entry["name"].startswith("teacher"):
        return FULL.teaching.epochs
    return (FULL.student if entry["distilled"] or entry["system"] == "dsnet" else FULL.backbone_alone).epochs


# ---------------------------------------------------------------- the clock


def timing_grid(report: Report) -> Grid:
    """Prediction times beside the published ones, with their ratios to DSNet."""
    timing, asked = report["timing"], report["timing"]["asked"]
    base = TABLE_2["dsnet"].prediction_seconds
    rows = []
    for name, found in (timing["systems"] | timing.get("beside", {})).items():
        published = TABLE_2.get(name)
        seconds = published.prediction_seconds if published else None
        rows.append([
            name, str(found.get("image_size", asked["image_size"])), number(seconds, 2),
            number(seconds / base if seconds else None, 2),
            f"{found['forward_seconds']:.2f}", number(found["forward_ratio"], 2),
            f"{found['with_decoding_seconds']:.2f}", number(found["with_decoding_ratio"], 2),
        ])  # fmt: skip
    head = [
        "system", "px", "published s", "ratio to DSNet", "s, decode excluded", "ratio to DSNet", "s, decode included",
        "ratio to DSNet",
    ]  # fmt: skip
    notes = [
        f"Seconds for {timing['for_images']:,} images: median of {asked['repeats']} "
        f"repetitions with {asked['images']:,} images, batches of {asked['batch_size']}, all networks in one run on "
        f"the same images, warm. {asked['hardware']}, {asked['device']}, {asked['threads']} "
        f"thread{'' if asked['threads'] == 1 else 's'}. Decoding alone: "
        f"{timing['decode_seconds']:.2f} s, one image after the other.",
    ]
    if timing.get("beside"):
        notes.append(
            "Our student takes its own, larger images: its graph in ONNX Runtime on one thread, which scales them and "
            "gives probabilities, and the same network in PyTorch."
        )
    return Grid("Prediction times", head, rows, notes)

"""What a study of Khan et al. 2022 shows, in sentences whose numbers come from its report.

Each sentence stands only if what it tells was run; what nobody measured, nobody reads.
"""

from typing import Any

from dermdistill.khan2022.grid import interval, mean_sd, pairs
from dermdistill.khan2022.markdown import is_begun, leak_gaps
from dermdistill.khan2022.measures import spread
from dermdistill.khan2022.published import TABLE_2
from dermdistill.khan2022.table_2 import judged
from dermdistill.khan2022.tables import differences

Report = dict[str, Any]
_COSTLY = 2.0
"""A fault is named if its mean difference is larger than so many standard errors."""


def findings(report: Report) -> list[str]:
    """The sentences, the most important first."""
    found = [_students(report), _accuracies(report), _distillation(report), _sweep(report, "temperature"),
             _sweep(report, "batch"), _leak(report), _soft_term(report), _faults(report)]  # fmt: skip
    return [text for text in found if text]


def headline(report: Report) -> str:
    """One sentence for the README."""
    link, more = "[the paper](docs/explanation/the-paper-audited.md)", "[results](results/khan2022/README.md)"
    done = [one for one in _told(report) if any(row["system"] == "dsnet" for row in judged(one)["rows"])]
    if not done:
        return (
            f"Every system of {link} that this project starts from is made again, as published and corrected: {more}."
        )
    student, found = done[0], judged(done[0])
    dsnet = max((row for row in found["rows"] if row["system"] == "dsnet"), key=lambda row: row["auroc"]["value"])
    return (
        f"Beside DSNet, the student of {link} that this project starts from, trained again at "
        f"{report['settings']['image_size']} px: on {found['n']} images that neither has seen, a network of the recipe "
        f"of `{student['name']}` has an AUROC of {interval(found['student']['auroc'])}, DSNet "
        f"{interval(dsnet['auroc'])} (difference {interval(dsnet['auroc_gap'], signed=True)}), {more}."
    )


def _told(report: Report) -> list[dict[str, Any]]:
    """The students that were judged."""
    return [one for one in (report["beside"] or {"students": []})["students"] if judged(one)]


def _students(report: Report) -> str | None:
    return " ".join(_student(report, one) for one in _told(report)) or None


def _student(report: Report, student: dict[str, Any]) -> str:
    found = judged(student)
    rows = sorted(found["rows"], key=lambda row: row["auroc_gap"]["value"])
    names = dict.fromkeys(row["name"] for row in [*rows[:1], *(row for row in rows if row["system"] == "dsnet")])
    of = {row["name"]: interval(row["auroc_gap"], signed=True) for row in rows}
    gaps = [f"{name} {of[name]}" for name in names]
    return (
        f"**Our student**, `{student['name']}`, has {student['parameters']:,} parameters (DSNet as published "
        f"{TABLE_2['dsnet'].parameters:,}) and an AUROC of {interval(found['student']['auroc'])} on the {found['n']} "
        "test images that it has not seen. Its difference on these to the best row here and to DSNet's: "
        f"{', '.join(gaps)}." + _speed(report, student["name"])
    )


def _speed(report: Report, name: str) -> str:
    timing = report["timing"] or {}
    mine = timing.get("beside", {}).get(f"{name}, ONNX Runtime")
    others = {key: one["forward_seconds"] for key, one in timing.get("systems", {}).items()}
    sizes = {key: one["image_size"] for key, one in timing.get("systems", {}).items()}
    if mine is None or not others:
        return ""
    quickest = min(others, key=lambda key: others[key])
    more = "".join(
        f", {key.replace('dsnet', 'DSNet', 1)} {others[key]:.1f} s" for key in others
        if key.startswith("dsnet") and key != quickest
    )  # fmt: skip
    return (
        f" Its predictions for {timing['for_images']:,} images of {mine['image_size']} px take "
        f"{mine['forward_seconds']:.1f} s in ONNX Runtime; the quickest of the paper's networks here, {quickest}, "
        f"takes {others[quickest]:.1f} s at {sizes[quickest]} px{more}."
    )


def _accuracies(report: Report) -> str | None:
    published = sorted(row.accuracy for row in TABLE_2.values())
    done = [entry for entry in report["tables"]["2"] if entry["protocol"] == "corrected" and entry["seeds"]
            and entry["image_size"] == report["settings"]["image_size"]]  # fmt: skip
    if len(done) < 2:
        return None
    done.sort(key=lambda entry: entry["summary"]["accuracy"]["mean"])
    low, high = done[0], done[-1]
    return (
        f"**Accuracies.** Published are {published[0]:.3f} to {published[-1]:.3f}; ours, corrected, are "
        f"{low['summary']['accuracy']['mean']:.3f} ({low['name']}) to {high['summary']['accuracy']['mean']:.3f} "
        f"({high['name']}), at {report['settings']['image_size']} px; what differs stands with each row."
    )


def _distillation(report: Report) -> str | None:
    """Distilled minus alone, of each system both of whose rows are done, paired by seed."""
    entries = {(entry["system"], entry["distilled"], entry["image_size"]): entry for entry in report["tables"]["2"]
               if entry["protocol"] == "corrected" and not entry["name"].startswith("teacher")}  # fmt: skip
    told = []
    for entry in entries.values():
        alone = entries.get((entry["system"], False, entry["image_size"]))
        if not entry["distilled"] or alone is None:
            continue
        gaps = _paired(entry, alone)
        if gaps:
            usual = entry["image_size"] == report["settings"]["image_size"]
            at = "" if usual else f" at {entry['image_size']} px"
            told.append(f"{entry['title']}{at} {mean_sd(spread(gaps), signed=True)}")
    if not told:
        return None
    return (
        f"**Distillation**, corrected, distilled minus alone in AUROC: {', '.join(told)}. But for DSNet the rows "
        "differ in their optimisers too, as in the paper: Adadelta with a teacher, Adam without."
    )


def _paired(one: dict[str, Any], other: dict[str, Any]) -> list[float | None]:
    values = {result["seed"]: result["test"]["auroc"]["value"] for result in other["seeds"]}
    return [result["test"]["auroc"]["value"] - values[result["seed"]] for result in one["seeds"]
            if values.get(result["seed"]) is not None and result["test"]["auroc"]["value"] is not None]  # fmt: skip


def _sweep(report: Report, table: str) -> str | None:
    if not is_begun(report, table):
        return None
    both = pairs(report["tables"][table])
    what = {"temperature": "Temperatures", "batch": "Batch sizes"}[table]
    parts = [f"**{what}.** Accuracies by row spread"]
    published = [entry["published_accuracy"] for _, entry in both if entry["published_accuracy"] is not None]
    told = [f"from {min(published):.3f} to {max(published):.3f} in the paper"] if len(published) > 1 else []
    for place, name in enumerate(("as published", "corrected")):
        means = [pair[place]["summary"]["accuracy"]["mean"] for pair in both if pair[place]["seeds"]]
        if means:
            rows = f"{len(means)} of {len(both)} rows" if len(means) < len(both) else f"all {len(both)} rows"
            told.append(f"from {min(means):.3f} to {max(means):.3f} here {name} ({rows})")
    return f"{parts[0]} {', '.join(told)}; each is of few seeds."


def _leak(report: Report) -> str | None:
    if not report["leak"]:
        return None
    gaps = [leak_gaps(one) for one in report["leak"]["seeds"]]
    leak, whole = (mean_sd(spread([one[key] for one in gaps]), signed=True) for key in ("leak", "whole"))
    seen = spread([one["random"]["melanomas_seen"] / max(1, one["random"]["melanomas_seen"]
                   + one["random"]["melanomas_unseen"]) for one in report["leak"]["seeds"]])  # fmt: skip
    return (
        f"**The random split** puts another photograph of its lesion into training for {100 * seen['mean']:.0f} % of "
        f"the test melanomas. To DSNet that is worth {leak} AUROC on these, {whole} on all test images."
    )


def _ablation(report: Report) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in report["tables"]["ablation"] if entry["seeds"]}


def _soft_term(report: Report) -> str | None:
    of = _ablation(report)
    if not {"corrected", "whole-array-softmax"} <= of.keys():
        return None
    shares = {name: 100 * of[name]["summary"]["gradient_share"]["mean"]
              for name in ("corrected", "whole-array-softmax", "as-published") if name in of}  # fmt: skip
    text = (
        f"**The softmax over the whole array turns distillation off.** The soft term keeps "
        f"{shares['whole-array-softmax']:.2g} % of the gradient, corrected {shares['corrected']:.2g} %"
    )
    return text + (f"; with all faults together {shares['as-published']:.2g} %." if "as-published" in shares else ".")


def _faults(report: Report) -> str | None:
    """The faults whose cost in AUROC is beyond the noise of the seeds, the largest first, and those where it is not."""
    of = _ablation(report)
    gaps = {name: gap for name, gap in differences(report["tables"]["ablation"], "auroc").items()
            if name in of and name != "corrected" and gap["sd"] is not None}  # fmt: skip
    if not gaps:
        return None
    sure = {name: gap for name, gap in gaps.items() if abs(gap["mean"]) > _COSTLY * gap["sd"] / gap["n"] ** 0.5}
    order = sorted(sure, key=lambda name: sure[name]["mean"])
    told = ", ".join(f"`{name}` {mean_sd(sure[name], signed=True)}" for name in order)
    rest = [f"`{name}`" for name in gaps if name not in sure]
    text = f"**What one fault does to DSNet's AUROC**, beyond two standard errors over seeds: {told or 'none'}."
    return text + (f" Not beyond them: {', '.join(rest)}." if rest else "")

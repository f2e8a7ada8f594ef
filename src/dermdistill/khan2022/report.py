"""Write a study's report: report.json with everything, report.md and report.html for people."""

from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from dermdistill.files import write_json, write_text
from dermdistill.khan2022 import drawing
from dermdistill.khan2022.markdown import grids, is_begun, markdown
from dermdistill.khan2022.published import SOURCE
from dermdistill.khan2022.study import Study
from dermdistill.khan2022.tables import contents

TITLES = {"2": "Table 2", "temperature": "Temperatures", "batch": "Batch sizes", "ablation": "Ablation"}


def write_report(study: Study, html: bool = True) -> dict[str, Any]:
    """Write the report of whatever is done in the study's folder under its settings.

    Args:
        study: the rows' folder, settings and images.
        html: also the page with every row's curves, classification report and confusion matrix.

    Returns:
        The contents of report.json.
    """
    report = contents(study)
    write_json(study.folder / "report.json", report)
    write_text(study.folder / "report.md", markdown(report))
    if html:
        write_text(study.folder / "report.html", page(report))
    return report


def page(report: dict[str, Any]) -> str:
    """The report as one HTML page that needs nothing else."""
    environment = Environment(
        loader=PackageLoader("dermdistill.khan2022"), autoescape=select_autoescape(["html", "j2"])
    )
    return environment.get_template("khan2022.html.j2").render(
        report=report,
        grids=grids(report),
        source=SOURCE,
        sweeps=sweeps(report),
        rocs=_rocs(report),
        details=_details(report),
    )


def sweeps(report: dict[str, Any]) -> dict[str, str]:
    """A drawing of each sweep that was begun, by its table's name: both protocols and what was published."""
    settings, found = report["settings"], {}
    for table, key, what in (("temperature", "temperatures", "temperature"), ("batch", "batch_sizes", "batch size")):
        if is_begun(report, table):
            found[table] = drawing.sweep(report["tables"][table], settings[key], what)
    return found


def _rocs(report: dict[str, Any]) -> dict[str, str]:
    """ROC curves of each table's rows, of the first seed, by what they are of; both protocols apart."""
    found = {}
    for table, entries in report["tables"].items():
        for protocol in dict.fromkeys(entry["protocol"] for entry in entries):
            named = {
                entry["name"]: entry["seeds"][0]["test"]["roc"]
                for entry in entries
                if entry["protocol"] == protocol and entry["seeds"] and entry["seeds"][0]["test"]["roc"]
            }
            if named:
                what = f"{TITLES[table]}{', ' + protocol if protocol else ''}"
                found[what] = drawing.roc(named, what)
    return found


def _details(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each row's first seed in full: curves, figures by class, confusion."""
    found = []
    for table, entries in report["tables"].items():
        for entry in entries:
            if not entry["seeds"]:
                continue
            title = f"{TITLES[table]}: {entry['name']}{', ' + entry['protocol'] if entry['protocol'] else ''}"
            result = entry["seeds"][0]
            found.append({"title": title, "result": result, "curves": drawing.curves(result["history"], title)})
    return found

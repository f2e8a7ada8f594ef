"""`dermdistill demo`: every stage for real, on generated images or, shortened, on real ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dermdistill.cli.options import AcceleratorOption

if TYPE_CHECKING:
    from dermdistill.evaluate.document import Report

app = typer.Typer()


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder with ham10000/ and isic2017/; else generated images.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Work folder; by default work/demo or work/demo-real.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded images.")] = None,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Go all the way from images to predictions in a few minutes, and say where everything is."""
    import time
    from importlib import resources

    from dermdistill.cli.train import carry_out, conclude
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work

    began, name = time.monotonic(), "demo-real" if data else "demo"
    path = Path(str(resources.files("dermdistill"))) / "recipes" / f"{name}.toml"
    folder = out or Path("work") / name
    work = Work(load_recipe(path), folder, data, cache or folder / "cache")
    carry_out(work, path, accelerator)
    predictions = folder / "predictions.csv"
    count = _predict(work, predictions)
    shown = {"predictions": f"{predictions} ({count} held-out images)"}
    conclude(work, time.monotonic() - began, shown, lambda report: _lessons(work, report))


def _predict(work: Any, out: Path) -> int:
    """Predict the held-out images with the first bundle, as `dermdistill predict` would."""
    from dermdistill.data.manifest import read_manifest
    from dermdistill.data.splits import read_splits
    from dermdistill.files import atomic_path
    from dermdistill.predict.output import write
    from dermdistill.predict.predictor import Predictor

    predictor = Predictor(work.bundle(work.exported[0]))
    held_out = read_splits(work.splits).ids(work.recipe.split.held_out)
    files = list(read_manifest(work.manifest).set_index("image_id")["path"].loc[held_out])
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        write(predictor.predict(files), predictor.classes, stream, "csv", {})
    return len(files)


def _lessons(work: Any, report: "Report") -> list[str]:
    """What the soft labels gave each student that has them, against the one without that is the baseline."""
    labels = {spec.name: spec.labels for spec in work.recipe.students}
    if labels.get(report.baseline) != "none":
        return []
    images = f"{report.data.n} test images with {report.data.positives} melanomas"
    lines = []
    for name, differences in report.differences.items():
        found = differences["auroc"]
        if labels.get(name, "none") == "none" or found.value is None or found.low is None or found.high is None:
            continue
        if found.low <= 0 <= found.high:
            verdict = f"the interval holds zero, so that {images} do not tell whether they help here"
        else:
            verdict = f"they {'helped' if found.value > 0 else 'did harm'} here, on {images}"
        interval = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        lines.append(f"Soft labels changed the AUROC of {name} by {interval}: {verdict}.")
    return lines

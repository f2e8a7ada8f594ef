"""`dermdistill demo`: every stage for real, on generated images or, shortened, on real ones."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder with ham10000/ and isic2017/; else generated images.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Work folder; by default work/demo or work/demo-real.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded images.")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
) -> None:
    """Go all the way from images to predictions in a few minutes, and say where everything is."""
    import time
    from importlib import resources

    from dermdistill.cli.train import _carry_out
    from dermdistill.recipe.spec import load_recipe
    from dermdistill.recipe.work import Work

    began = time.monotonic()
    recipe = "demo-real" if data else "demo"
    loaded = load_recipe(Path(str(resources.files("dermdistill"))) / "recipes" / f"{recipe}.toml")
    folder = out or Path("work") / recipe
    work = Work(loaded, folder, data, cache or folder / "cache")
    _carry_out(work, accelerator)
    predictions = folder / "predictions.csv"
    count = _predict(work, predictions)
    _conclude(work, predictions, count, time.monotonic() - began)


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


def _conclude(work: Any, predictions: Path, count: int, seconds: float) -> None:
    import os

    from rich.console import Console

    from dermdistill.classes import DISCLAIMER
    from dermdistill.cli.key_table import key_table
    from dermdistill.evaluate.document import load_report

    console = Console()
    console.print(key_table(load_report(work.report / "report.json")))
    if work.recipe.data.synthetic is not None:
        console.print("[bold]These figures are of synthetic images and say nothing about skin.[/bold]")
    console.print(f"report       {work.report / 'report.html'}", soft_wrap=True)
    console.print(f"bundle       {work.bundle(work.exported[0])}", soft_wrap=True)
    console.print(f"predictions  {predictions} ({count} held-out images)", soft_wrap=True)
    console.print(f"time         {seconds / 60:.1f} minutes on {os.cpu_count()} cores", soft_wrap=True)
    console.print(DISCLAIMER)

"""`dermdistill page`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk
from dermdistill.cli.options import ModelOption

app = typer.Typer()


@app.command()
def page(
    to: Annotated[Path, typer.Option(help="A new or empty folder, or one with an earlier page.")],
    model: ModelOption = None,
    evidence: Annotated[
        Path | None, typer.Option(help="The model's out-of-fold figures; by default those that ship.")
    ] = None,
) -> None:
    """Write the page that judges images in the browser, with a model, as static files for any web server."""
    from dermdistill.predict.bundle import open_bundle
    from dermdistill.serve.site import write_page

    folder = write_page(to, open_bundle(model), evidence)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    talk.say(f"page in {folder} ({size / 1e6:.1f} MB); serve it over HTTPS or from localhost")

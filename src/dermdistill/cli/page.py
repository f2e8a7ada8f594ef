"""`dermdistill page`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def page(
    to: Annotated[Path, typer.Option(help="A new or empty folder, or one with an earlier page.")],
    model: Annotated[Path | None, typer.Option(help="A bundle; by default the one that ships.")] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="The model's out-of-fold figures; by default those that ship.")
    ] = None,
) -> None:
    """Write the page that judges images in the browser, with a model, as static files for any web server."""
    from dermdistill.predict.bundle import default_bundle, read_bundle
    from dermdistill.serve.site import write_page

    folder = write_page(to, read_bundle(model or default_bundle()), evidence)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    typer.echo(f"page in {folder} ({size / 1e6:.1f} MB); serve it over HTTPS or from localhost")

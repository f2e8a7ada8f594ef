"""`dermdistill publish`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk

app = typer.Typer()


@app.command()
def publish(
    to: Annotated[Path, typer.Option(help="The folder of the repository.")],
    model: Annotated[
        str | None, typer.Option(help="A bundle's folder, or a name that `dermdistill models` lists.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run that the bundle was exported from, for weights with BatchNorms.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what was published there before.")] = False,
) -> None:
    """Write a model as a Hugging Face repository: safetensors, config.json, a card with metadata, and the bundle.

    Nothing is uploaded.
    """
    from dermdistill.publish.hub import publish_model

    folder = publish_model(to, model, run=run, force=force)
    talk.say(f"model repository in {folder}; `hf upload NAME {folder}` uploads it")

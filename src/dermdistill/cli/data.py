"""`dermdistill data …`: from images and tables to a manifest and frozen splits."""

import typer

from dermdistill.cli import data_groups, data_sources, data_tables

app = typer.Typer(help="Manifests, checks, duplicates, splits, downloads, synthetic images.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    pass


for _module in (data_tables, data_groups, data_sources):
    app.add_typer(_module.app)

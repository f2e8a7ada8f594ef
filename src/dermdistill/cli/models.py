"""`dermdistill models`: list the models that ship with the package."""

from typing import TYPE_CHECKING

import typer

from dermdistill.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from dermdistill.publish.models import Area, ShippedModel

app = typer.Typer()

EXTERNAL_TESTS = ("ISIC 2018", "ISIC 2017", "PH2")
"""How the names of the external test sets begin."""
NOT_SCORED = "not yet scored"


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List the models that ship with the package: cost, licence of the weights, and figures.

    `dermdistill predict --model NAME` uses one of them; without --model it uses the default one.
    """
    from rich.console import Console
    from rich.table import Table

    from dermdistill.publish.models import shipped_models

    found = shipped_models()
    if as_json:
        print_json([model.model_dump(mode="json") for model in found])
        return
    table = Table("", *(f"{model.name} (default)" if model.default else model.name for model in found))
    for label, cells in rows(found):
        table.add_row(label, *cells)
    Console().print(table)
    typer.echo("Figures are melanoma AUROCs with 95 % intervals. Research tools, not medical devices.")


def rows(found: "list[ShippedModel]") -> list[tuple[str, list[str]]]:
    """A row a fact, with a cell for each model."""
    known = [model.out_of_fold for model in found]
    made = [
        ("parameters", [f"{model.parameters:,}" for model in found]),
        ("million MACs", [f"{model.macs / 1e6:.1f}" for model in found]),
        ("bytes", [f"{model.bytes:,}" for model in found]),
        ("licence of the weights", [model.licence for model in found]),
        ("out of fold", [_area(of.auroc if of else None, "not known") for of in known]),
        ("within collections", [_area(of.within if of else None, "not known") for of in known]),
    ]
    for start in EXTERNAL_TESTS:
        areas = [
            next((test.auroc for name, test in model.external.items() if name.startswith(start)), None)
            for model in found
        ]
        made.append((start, [_area(area, NOT_SCORED) for area in areas]))
    return made


def _area(area: "Area | None", otherwise: str) -> str:
    if area is None:
        return otherwise
    return f"{area.value:.3f}" if area.low is None else f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}]"

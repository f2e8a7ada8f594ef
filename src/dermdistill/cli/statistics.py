"""Options of a report's statistics, which `evaluate` and `compare` share."""

from typing import Annotated, Any

import typer

from dermdistill.errors import InputError

_PANEL = "Statistics"

SubgroupOption = Annotated[
    list[str] | None, typer.Option(rich_help_panel=_PANEL, help="A further column that makes subgroups; repeat.")
]
PrevalenceOption = Annotated[
    list[float] | None,
    typer.Option(rich_help_panel=_PANEL, help="Share of melanomas, 0 to 1, to tell predictive values for; repeat."),
]
MarginOption = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=_PANEL, help="An AUROC lower by no more than this is not inferior; fix it beforehand."
    ),
]
ReadersOption = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=_PANEL,
        help="SENSITIVITY,SPECIFICITY,SOURCE of human readers; by default 58 dermatologists (Haenssle et al. 2018).",
    ),
]
SkinToneOption = Annotated[
    bool,
    typer.Option(
        "--skin-tone", rich_help_panel=_PANEL, help="Subgroups by skin tone, estimated from the images: a proxy."
    ),
]


def settings_of(
    subgroup: list[str] | None, prevalence: list[float] | None, margin: float | None, readers: str | None
) -> dict[str, Any]:
    """The options as keys of `dermdistill.evaluate.spec.EvaluateSpec`.

    Raises:
        InputError: readers that are not two numbers and a source.
    """
    settings: dict[str, Any] = {"subgroups": subgroup or [], "prevalence": prevalence or [], "margin": margin}
    if readers is None:
        return settings
    sensitivity, specificity, source = [*readers.split(",", 2), "", ""][:3]
    try:
        told = {"sensitivity": float(sensitivity), "specificity": float(specificity), "source": source.strip()}
    except ValueError:
        told = {}
    if not told or not told["source"]:
        raise InputError(
            f"--readers expects SENSITIVITY,SPECIFICITY,SOURCE such as '0.87,0.81,Our panel', got '{readers}'"
        )
    return {**settings, "readers": told}

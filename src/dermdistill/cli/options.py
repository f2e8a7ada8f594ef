"""Options that several commands have."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from dermdistill.cli.completion import model_names, threshold_names


class Runtime(StrEnum):
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    executorch = "executorch"
    litert = "litert"


class Engine(StrEnum):
    local = "local"
    ray = "ray"


class Precision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class Calibration(StrEnum):
    temperature = "temperature"
    vector = "vector"
    dirichlet = "dirichlet"
    isotonic = "isotonic"
    beta = "beta"


class WhenDamaged(StrEnum):
    refuse = "refuse"
    judge = "judge"


class WhenRefused(StrEnum):
    refuse = "refuse"
    judge = "judge"
    off = "off"


ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A bundle's folder, or a name that `dermdistill models` lists; by default the first of them.",
        autocompletion=model_names,
    ),
]
ThresholdOption = Annotated[
    str | None,
    typer.Option(help="One of the bundle's thresholds, or a number from 0 to 1.", autocompletion=threshold_names),
]
AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu or gpu.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The same for machines, as JSON.")]


def print_json(content: Any) -> None:
    """Print a result for machines; NaN and infinities are refused."""
    import json

    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))

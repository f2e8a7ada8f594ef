"""`dermdistill bench`: how fast, small and quick to start models are on this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk

app = typer.Typer()


@app.command()
def bench(
    bundles: Annotated[
        list[str] | None, typer.Argument(help="Bundles or names of models; by default those that ship.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A minute or two, with more noise.")] = False,
    rivals: Annotated[
        str, typer.Option(help="Networks to compare with, by commas; `all` or `none`.", show_default=True)
    ] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="All figures, for machines.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="A folder for bench.json, timings.md and pareto.svg, which are replaced.")
    ] = None,
) -> None:
    """Time bundles in all their forms against networks of the literature, in turns, on pinned threads.

    Networks of the literature have random weights, which take the same time as trained ones. Figures are of this
    machine as busy as it is: the load before the run stands beside them.
    """
    from rich.console import Console
    from rich.table import Table

    from dermdistill.bench.measure import FULL, QUICK
    from dermdistill.bench.run import Plan
    from dermdistill.bench.run import bench as measure
    from dermdistill.bench.show import head, markdown, notes, plot, rows, times_as_fast
    from dermdistill.bench.subjects import RIVALS
    from dermdistill.files import write_text
    from dermdistill.predict.bundle import find_bundle, shipped_bundles

    folders = [find_bundle(name) for name in bundles] if bundles else list(shipped_bundles().values())
    named = list(RIVALS) if rivals == "all" else [] if rivals == "none" else rivals.split(",")
    command = " ".join(["dermdistill", *sys.argv[1:]])
    plan = Plan(folders, named, rival_runtimes=("onnxruntime",) if quick else ("onnxruntime", "openvino"))
    found = measure(plan, QUICK if quick else FULL, command, talk.note)
    content = found.model_dump_json(indent=1) + "\n"
    if out is not None:
        write_text(out / "bench.json", content)
        write_text(out / "timings.md", markdown(found))
        if any(one.auroc is not None for one in found.subjects):
            plot(found, out / "pareto.svg")
    if as_json:
        typer.echo(content, nl=False)
        return
    table = Table(*head(found))
    for row in rows(found):
        table.add_row(*row)
    Console().print(table)
    for line in [*times_as_fast(found), *notes(found)]:
        typer.echo(line)

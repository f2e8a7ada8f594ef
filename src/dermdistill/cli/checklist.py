"""`dermdistill checklist`."""

from pathlib import Path
from typing import Annotated

import typer

from dermdistill import talk

app = typer.Typer()


@app.command()
def checklist(
    report: Annotated[Path, typer.Argument(help="A report.json.")],
    form: Annotated[str, typer.Option(help="tripod-ai, stard-ai, claim or clear-derm.")],
    out: Annotated[Path, typer.Option(help="The file, .md or .docx.")],
    model: Annotated[str | None, typer.Option(help="One of the report's models; by default its student.")] = None,
) -> None:
    """Fill a reporting checklist from a report as far as it knows the answers; the rest is left open, with prompts."""
    from dermdistill.evaluate.checklists.fill import fill, read_form
    from dermdistill.evaluate.checklists.write import write_checklist
    from dermdistill.evaluate.document import load_report

    filled = fill(read_form(form), load_report(report), model)
    write_checklist(filled, out)
    told = [answer.item.number for answer in filled.answers if answer.text]
    left = [answer.item.number for answer in filled.answers if not answer.text]
    talk.say(f"{filled.form.title} in {out}; from the report: {', '.join(told)}; open: {', '.join(left)}")

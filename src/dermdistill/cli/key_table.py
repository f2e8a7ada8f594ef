"""The key figures of a report for a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from dermdistill.evaluate.document import Report


def key_table(report: "Report") -> "Table":
    """A column a model, the interval beneath its value, to fit 80 characters."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from dermdistill.evaluate.render.markdown import key_rows
    from dermdistill.evaluate.render.text import about, interval

    head, rows = key_rows(report)
    if report.within is not None:
        place = head.index("AUROC") + 1
        head.insert(place, "AUROC within collections")
        for row in rows:
            row.insert(place, interval(report.within.models[row[0]].auroc))
    table = Table(title=f"{about(report)}; 95 % intervals in brackets", box=box.SIMPLE_HEAD)
    for index, name in enumerate([head[0], *(row[0] for row in rows)]):
        table.add_column(escape(name), overflow="fold", justify="right" if index else "left")
    for what, *values in zip(head[1:], *(row[1:] for row in rows), strict=True):
        if not any(value not in ("", "n/a") for value in values):
            continue  # nothing to say of any model
        table.add_row(escape(what), *(escape(value.replace(" [", "\n[")) for value in values))
    return table

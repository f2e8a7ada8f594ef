"""A filled checklist as Markdown or as a Word file."""

from pathlib import Path

from dermdistill.errors import InputError
from dermdistill.evaluate.checklists.fill import Answer, Filled
from dermdistill.files import atomic_path, write_text

OPEN = "Open."
_HEAD = ("Item", "What it asks", "From the report", "For you to write")


def write_checklist(filled: Filled, path: Path) -> None:
    """Write a checklist; the form follows from the name's ending.

    Raises:
        InputError: another ending than .md or .docx.
        MissingExtraError: a .docx without python-docx, which the extra `report` brings.
    """
    match path.suffix.lower():
        case ".md":
            write_text(path, markdown(filled))
        case ".docx":
            _write_docx(filled, path)
        case other:
            raise InputError(f"a checklist is written as .md or .docx, got '{other}' in {path}")


def about(filled: Filled) -> list[str]:
    """What stands above the items."""
    return [
        f"For the model {filled.subject}: {filled.report}.",
        f"Source: {filled.form.source}. {filled.form.note}",
        "Text under “From the report” was filled in by dermdistill from report.json. What stands under “For you to "
        "write” is left to people. A checklist is no score, and research software is no medical device.",
    ]


def markdown(filled: Filled) -> str:
    """The checklist as Markdown, one table a section."""
    lines = [f"# {filled.form.title}", "", *(line for text in about(filled) for line in (text, ""))]
    for section, answers in by_section(filled):
        lines += [f"## {section}", "", "| " + " | ".join(_HEAD) + " |", "|---" * len(_HEAD) + "|"]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row(answer)) + " |" for answer in answers]
        lines.append("")
    return "\n".join(lines)


def by_section(filled: Filled) -> list[tuple[str, list[Answer]]]:
    """The answers of each section, sections in the order of their first items."""
    found: dict[str, list[Answer]] = {}
    for answer in filled.answers:
        found.setdefault(answer.item.section, []).append(answer)
    return list(found.items())


def row(answer: Answer) -> tuple[str, str, str, str]:
    """Number and title, the question, what the report tells, what is left to people."""
    item = answer.item
    left = item.prompt if item.prompt or answer.text else OPEN
    return f"{item.number}. {item.title}", item.asks, answer.text, left


def _write_docx(filled: Filled, path: Path) -> None:
    from docx import Document
    from docx.enum.section import WD_ORIENT
    from docx.shared import Pt

    document = Document()
    page = document.sections[0]
    page.orientation = WD_ORIENT.LANDSCAPE
    page.page_width, page.page_height = page.page_height, page.page_width
    document.styles["Normal"].font.size = Pt(9)
    document.add_heading(filled.form.title, 0)
    for text in about(filled):
        document.add_paragraph(text)
    for section, answers in by_section(filled):
        document.add_heading(section, 1)
        table = document.add_table(rows=1, cols=len(_HEAD), style="Table Grid")
        for cell, text in zip(table.rows[0].cells, _HEAD, strict=True):
            cell.paragraphs[0].add_run(text).bold = True
        for answer in answers:
            for cell, text in zip(table.add_row().cells, row(answer), strict=True):
                cell.text = text
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        document.save(stream)

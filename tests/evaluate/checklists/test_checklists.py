"""Checklists: each filled item quotes the report, what only people know stays open, and nothing is a score."""

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.training_keys import training_keys
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.external import read_external
from dermdistill.evaluate.checklists import fill as filling
from dermdistill.evaluate.checklists.fill import fill, forms, read_form
from dermdistill.evaluate.checklists.write import markdown, write_checklist
from dermdistill.evaluate.ledger import DeclaredTest
from dermdistill.evaluate.predictions import UNKNOWN
from dermdistill.files import write_json

FACTS = tomllib.loads((Path(filling.__file__).parent / "facts.toml").read_text(encoding="utf-8"))
EXTERNAL = Path(__file__).parents[3] / "results" / "external" / "external.json"
NAMES = ("claim", "clear-derm", "stard-ai", "tripod-ai")


@pytest.fixture
def report(manifest: pd.DataFrame, make_model, measured, tmp_path: Path):
    """One with a teacher, a student, collections, external tests, a ledger and known training images."""
    external = read_external(EXTERNAL)
    student = make_model(1.5)
    facts = {
        "graph_sha256": external.bundles[0].model_onnx_sha256, "image_size": 112, "model_sha256": "a" * 64,
        "git_commit": "c0ffee", "hardware": "a machine", "macs": 6_700_000,
    }  # fmt: skip
    student = replace(
        student, provenance=student.provenance.model_copy(update=facts),
        trained_on={"": training_keys(manifest[manifest["image_id"].isin(student.ids("train"))])},
    )  # fmt: skip
    test = DeclaredTest(tmp_path / "ledger.jsonl", "command")
    found = measured({"teacher": make_model(3.0), "student": student}, test=test, external=external)
    write_json(tmp_path / "report" / "report.json", found.model_dump(mode="json"))
    return found


def test_the_forms_have_all_their_items():
    assert tuple(forms()) == NAMES
    numbers = {name: [item.number for item in read_form(name).items] for name in NAMES}
    assert all(len(set(found)) == len(found) for found in numbers.values())
    whole = {name: list(dict.fromkeys(number.rstrip("abcdefg") for number in numbers[name])) for name in NAMES}
    assert whole["tripod-ai"] == [str(number) for number in range(1, 28)]
    assert whole["claim"] == [str(number) for number in range(1, 45)]
    assert whole["clear-derm"] == [str(number) for number in range(1, 26)]
    assert whole["stard-ai"] == [*map(str, range(1, 31)), *(f"A{number}" for number in range(1, 11))]
    used = set()
    for name in NAMES:
        for item in read_form(name).items:
            assert item.facts or item.prompt, f"{name} {item.number} asks for nothing"
            used |= set(item.facts)
    assert used == set(FACTS)


def value_at(content, place: str):
    """The value that a place names; keys may hold dots themselves."""
    if place == "":
        return content
    if isinstance(content, list):
        first, _, rest = place.partition(".")
        return value_at(content[int(first)], rest)
    for key in sorted(content, key=len, reverse=True):
        if place == key or place.startswith(f"{key}."):
            return value_at(content[key], place[len(key) + 1 :])
    raise KeyError(place)


def leaves(value) -> list:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


@pytest.mark.parametrize("name", NAMES)
def test_each_filled_item_quotes_what_is_in_the_report(name: str, report, tmp_path: Path):
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    filled = fill(read_form(name), report)
    assert filled.subject == "student"
    for answer in filled.answers:
        assert bool(answer.quotes) == bool(answer.text)
        for place in answer.quotes:
            if place == "models.student":  # the name itself
                assert "student" in answer.text
                continue
            shown = {str(leaf) for leaf in leaves(value_at(content, place))}
            shown |= {f"{leaf:,}" for leaf in leaves(value_at(content, place)) if isinstance(leaf, int)}
            shown |= {f"{leaf:.3f}" for leaf in leaves(value_at(content, place)) if isinstance(leaf, float)}
            shown |= {"no" for leaf in leaves(value_at(content, place)) if leaf is False}
            assert any(text in answer.text for text in shown), (answer.item.number, place, answer.text)


@pytest.mark.parametrize("name", NAMES)
def test_seventy_percent_of_what_software_can_answer_is_filled(name: str, report):
    filled = fill(read_form(name), report)
    able = [answer for answer in filled.answers if answer.item.facts]
    told = [answer for answer in able if answer.text]
    assert len(told) >= 0.7 * len(able)
    assert not any(answer.text for answer in filled.answers if not answer.item.facts)


def test_a_bare_table_fills_less_and_claims_nothing(make_model, measured):
    bare = measured({"m": replace(make_model(), provenance=UNKNOWN)})
    filled = {answer.item.number: answer for answer in fill(read_form("claim"), bare).answers}
    assert filled["22"].text == "Classes: akiec, bcc, bkl, df, mel, nv, vasc."
    assert filled["33"].text == ""
    assert filled["42"].text.startswith("The manifest")
    assert "None" not in " ".join(answer.text for answer in filled.values())


def test_markdown_has_every_item_and_no_score(report):
    for name in NAMES:
        form = read_form(name)
        text = markdown(fill(form, report))
        for item in form.items:
            assert f"| {item.number}. {item.title} | {item.asks} |" in text
        assert form.source in text
        assert not re.search(r"\d+ ?(?:/|of) ?\d+ items|\bscore of\b|\d %\s+complete", text)


def test_the_command_writes_both_kinds(report, tmp_path: Path):
    place = str(tmp_path / "report" / "report.json")
    done = CliRunner().invoke(app, ["checklist", place, "--form", "claim", "--out", str(tmp_path / "claim.md")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "claim.md").read_text() == markdown(fill(read_form("claim"), report))


def test_the_word_file_holds_the_same(report, tmp_path: Path):
    docx = pytest.importorskip("docx", reason="the extra `report` is not installed")
    filled = fill(read_form("tripod-ai"), report)
    write_checklist(filled, tmp_path / "tripod.docx")
    document = docx.Document(str(tmp_path / "tripod.docx"))
    cells = [[cell.text for cell in row.cells] for table in document.tables for row in table.rows[1:]]
    assert [row[0] for row in cells] == [f"{one.item.number}. {one.item.title}" for one in filled.answers]
    assert [row[2] for row in cells] == [one.text for one in filled.answers]


def test_bad_input_is_told(report, tmp_path: Path):
    with pytest.raises(InputError, match=r"no checklist is called 'tripod'; did you mean 'tripod-ai'\?"):
        read_form("tripod")
    with pytest.raises(InputError, match="no model is called 'pupil'"):
        fill(read_form("claim"), report, "pupil")
    with pytest.raises(InputError, match=r"as \.md or \.docx, got '\.pdf'"):
        write_checklist(fill(read_form("claim"), report), tmp_path / "claim.pdf")

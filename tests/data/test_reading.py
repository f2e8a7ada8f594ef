"""Tables as people save them."""

import openpyxl
import pytest

from dermdistill.data.importing.datasets import import_dataset
from dermdistill.data.reading import read_table
from dermdistill.errors import InputError


@pytest.mark.parametrize("name", ["utf16", "latin1", "semicolon", "blank_rows"])
def test_encodings_separators_and_blank_rows(case, name):
    manifest = import_dataset(case("table_encodings") / name).manifest
    assert manifest["melanoma"].tolist() == [1, 0, 1, 0]


ROWS = [["image", "value", "where"], ["a", "0.5", "Rücken"], ["b", "1.0", "x, y"]]


def _text(separator, decimal="."):
    lines = [[cell.replace(".", decimal) if cell[:1].isdigit() else cell for cell in row] for row in ROWS]
    return "\r\n".join(separator.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in lines) + "\r\n"


@pytest.mark.parametrize(
    "content",
    [
        _text(",").encode(),
        _text(",").encode("utf-8-sig"),
        _text(",").encode("utf-16"),
        _text(",").encode("utf-16-le"),
        _text(",").encode("utf-16-be"),
        _text(",").encode("cp1252"),
        _text(";", ",").encode(),
        _text("\t", ",").encode("utf-16"),
        _text("|").encode(),
        b"sep=;\r\n" + _text(";", ",").encode("cp1252"),
        (_text(",") + ",,\r\n , ,\r\n\r\n").encode(),
    ],
    ids=[
        "utf-8",
        "bom",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "cp1252",
        "semicolon",
        "excel-text",
        "bar",
        "sep",
        "blank",
    ],
)
def test_one_table_in_many_forms(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv")
    assert [list(table.columns), *table.to_numpy().tolist()] == ROWS


def test_excel(tmp_path):
    book = openpyxl.Workbook()
    for row in (["image", "age", None], ["a", 50, None], [None, None, None], ["b", None, None]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    assert list(table.columns) == ["image", "age"]
    assert table.fillna("").to_numpy().tolist() == [["a", "50"], ["b", ""]]
    (tmp_path / "t.xlsx").write_bytes(b"no workbook")
    with pytest.raises(InputError, match=r"t\.xlsx is not a readable Excel workbook"):
        read_table(tmp_path / "t.xlsx")


def test_what_cannot_be_read_names_encoding_and_separator(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1;2\n1;2;3;4\n")
    with pytest.raises(
        InputError, match=r"read as utf-8, separated by semicolons\): .*line 3.*save it as UTF-8"
    ) as told:
        read_table(tmp_path / "t.csv")
    assert "\n" not in str(told.value)

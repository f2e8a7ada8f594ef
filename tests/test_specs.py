"""Recipes and headers that do not fit are told in words: which key, in which line, and what was meant."""

import json
from pathlib import Path
from typing import Literal

import pytest

from dermdistill.errors import InputError, IntegrityError
from dermdistill.recipe.spec import Recipe, load_recipe
from dermdistill.specs import Header, line_of, load_header, parse

CASES = Path(__file__).parent / "cases"
RECIPE = """\
name = "r"
seed = 1

[data]
sources = [
  { path = "a" },
  { path = "b", layuot = "folders" },
]

[[teachers]]
name = "t"
train = { epochs = 1, batch_size = 8 }

# the second
[[teachers]]
name = "u"
[teachers.train]
epochs = 2

[[students]]
name = "s"
train.epochs = 3
"""


def _told(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InputError) as error:
        load_recipe(tmp_path / "r.toml")
    return str(error.value).splitlines()[1:]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("seed",), 2),
        (("data", "sources"), 5),
        (("data", "sources", 1, "layuot"), 7),
        (("teachers", 0, "train", "batch_size"), 12),
        (("teachers", 1), 15),
        (("teachers", 1, "train", "epochs"), 18),
        (("students", 0, "train", "epochs"), 22),
        (("split", "folds"), None),
        ((), None),
    ],
)
def test_the_line_of_a_key(place, line):
    assert line_of(RECIPE, place) == line


def test_an_unknown_key_has_its_line_and_what_was_meant(tmp_path):
    assert _told(tmp_path, RECIPE) == [
        "  data.sources.1.layuot (line 7): unknown key; did you mean 'layout'?",
    ]
    text = RECIPE.replace("layuot", "layout")
    assert _told(tmp_path, text.replace("epochs = 2", "epocs = 2")) == [
        "  teachers.1.train.epocs (line 18): unknown key; did you mean 'epochs'?",
    ]
    assert _told(tmp_path, "zzz = 3\n" + text) == ["  zzz (line 1): unknown key"]


def test_a_value_that_does_not_fit_is_told_alone(tmp_path):
    """pydantic also finds that a list is too short from which it left out what does not fit."""
    text = RECIPE.replace("layuot", "layout").replace("epochs = 3", 'epochs = "two"')
    (line,) = _told(tmp_path, text)
    assert line.startswith("  students.0.train.epochs (line 22): Input should be a valid integer")
    assert line.endswith(", got 'two'")
    with pytest.raises(InputError, match=r"students: Tuple should have at least 1 item"):
        parse(Recipe, {"name": "r", "data": {"synthetic": {}}, "teachers": [{"name": "t"}], "students": []}, "here")


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
@pytest.mark.parametrize("key", ["learning_rate", "weight_decay", "clip"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, key, value):
    text = RECIPE.replace("layuot", "layout").replace("epochs = 2", f"{key} = {value}")
    (line,) = _told(tmp_path, text)
    assert line.startswith(f"  teachers.1.train.{key} (line 18): Input should be ")


def test_the_case_of_an_infinite_learning_rate():
    with pytest.raises(InputError, match=r"teachers\.0\.train\.learning_rate \(line 12\): Input should be a finite"):
        load_recipe(CASES / "oserror_tracebacks" / "inf.toml")


def test_a_recipe_with_a_byte_order_mark_is_read():
    assert (CASES / "recipe_bom" / "r.toml").read_bytes().startswith(b"\xef\xbb\xbf")
    assert load_recipe(CASES / "recipe_bom" / "r.toml").name == "r"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_recipe_in_utf_16_is_named(tmp_path, encoding):
    (tmp_path / "r.toml").write_bytes(RECIPE.encode(encoding))
    with pytest.raises(InputError, match="is encoded as UTF-16; save it as UTF-8"):
        load_recipe(tmp_path / "r.toml")


def test_a_recipe_in_latin_1_or_that_is_a_folder_is_told(tmp_path):
    (tmp_path / "r.toml").write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(InputError, match=r"is not UTF-8 \(byte 8\); save it as UTF-8"):
        load_recipe(tmp_path / "r.toml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


class Box(Header):
    format: Literal["box/1", "box/2"]
    size: int


def test_headers_are_read_by_their_format(tmp_path):
    path = tmp_path / "box.json"
    with pytest.raises(InputError, match="no such file"):
        load_header(path, Box)
    for content, match in (
        ({"format": "bag/1", "size": 3}, r"box\.json is not a box/1 or box/2 file, its format is 'bag/1'"),
        ([1], "its format is None"),
        ({"format": "box/1"}, r"box\.json is damaged:\n  size: Field required\nmake it again"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(IntegrityError, match=match):
            load_header(path, Box)
    path.write_text(json.dumps({"format": "box/2", "size": 3, "later": [1]}))
    box = load_header(path, Box)
    assert (box.size, box.model_extra) == (3, {"later": [1]})


def test_the_place_is_named_without_a_file_too():
    with pytest.raises(InputError, match=r"here does not fit:\n  students: Field required"):
        parse(Recipe, {"name": "r", "data": {"synthetic": {}}}, "here")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": {"scheme": "hold-ot"}}, r"split\.scheme: .*, got 'hold-ot'; did you mean 'hold-out'\?"),
        ({"export": {"students": ["stduent"]}}, "no student is called 'stduent'; did you mean 'student'"),
        ({"export": {"teachers": ["x"]}}, r"export\.teachers: no teacher is called 'x'; there are"),
        ({"evaluate": {"baseline": "teachr"}}, "no model is called 'teachr'; did you mean 'teacher'"),
    ],
    ids=str,
)
def test_a_mistyped_value_is_told_the_nearest(change, told):
    recipe = {
        "name": "r",
        "data": {"synthetic": {}},
        "teachers": [{"name": "teacher"}],
        "students": [{"name": "student"}],
    }
    with pytest.raises(InputError, match=told):
        parse(Recipe, {**recipe, **change}, "recipe")

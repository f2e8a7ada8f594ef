"""results/student is the list of all students in results/, and nothing is left out."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from dermdistill.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ledger():
    from dermdistill.publish import ledger

    return ledger


@pytest.fixture
def notes():
    return tomllib.loads((ROOT / "results" / "student" / "notes.toml").read_text(encoding="utf-8"))


def test_the_page_is_what_the_results_and_notes_give(ledger, notes):
    page = (ROOT / "results" / "student" / "README.md").read_text(encoding="utf-8")
    assert page == ledger.page(ledger.entries(ROOT / "results", notes))


def test_what_is_kept_is_what_ships(ledger, notes):
    shipped = {}
    for path in (ROOT / "src" / "dermdistill" / "weights").glob("*/bundle.json"):
        recipe = json.loads((path.parent / "figures.json").read_text(encoding="utf-8"))["recipe"]
        shipped[recipe, path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    kept = {(row["recipe"], row["name"]): row for row in ledger.entries(ROOT / "results", notes) if row["kept"]}
    assert kept.keys() == shipped.keys()
    for key, bundle in shipped.items():
        assert kept[key]["parameters"] == bundle["model"]["parameters"]
        value = kept[key]["thresholds"]["sensitivity_95"]["value"]
        assert bundle["thresholds"]["sensitivity_95"]["value"] == pytest.approx(value)


def test_an_experiment_without_a_note_and_a_note_without_an_experiment_are_told(ledger, notes):
    recipe = next(iter(notes))
    name = next(iter(notes[recipe]))
    note = notes[recipe].pop(name)
    with pytest.raises(InputError, match=rf"has no \[{recipe}.{name}\]"):
        ledger.entries(ROOT / "results", json.loads(json.dumps(notes)))
    notes[recipe] |= {name: note, "dream": note}
    with pytest.raises(InputError, match=f"tells of {recipe}.dream, which no report"):
        ledger.entries(ROOT / "results", notes)


def test_drawings_show_every_student(ledger, notes):
    rows = ledger.entries(ROOT / "results", notes)
    svg = ledger.drawing(rows, "macs", "cost")
    assert all(f"{row['recipe']}: {row['name']}" in svg for row in rows)
    assert svg == ledger.drawing(rows, "macs", "cost")


def test_no_number_of_a_drawing_covers_another(ledger):
    spots = np.random.default_rng(0).uniform(0, 60, (20, 2))
    places = spots + np.column_stack([np.zeros(20), ledger.raised(spots)])
    assert (places[:, 1] > spots[:, 1]).all()
    apart = np.abs(places[:, None] - places[None])
    np.fill_diagonal(apart[..., 1], np.inf)
    assert ((apart[..., 0] >= 13) | (apart[..., 1] >= 10)).all()

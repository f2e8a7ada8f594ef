"""External tests are shown for the graph that they belong to, and for no other."""

import json
import shutil
from pathlib import Path

import pytest

from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.external import read_external
from dermdistill.export.card import put_section
from dermdistill.files import sha256_file
from dermdistill.predict.bundle import default_bundle, read_bundle, shipped_bundles
from dermdistill.publish import external, front
from dermdistill.publish.card import UNKNOWN_CAMERAS, amend_card, unknown_cameras

ROOT = Path(__file__).parents[2]
FILE = ROOT / "results" / "external" / "external.json"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(default_bundle(), tmp_path / "bundle")


def of_graph(bundle: Path, path: Path, sha256: str) -> Path:
    """A file of external tests for another graph."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    content["bundles"][0]["model_onnx_sha256"] = sha256
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_card_shows_the_tests_of_its_graph_and_stays_valid(bundle: Path, tmp_path: Path):
    path = of_graph(bundle, tmp_path / "external.json", sha256_file(bundle / "model.onnx"))
    for _ in range(2):
        amend_card(bundle, path)
        card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert card.count("## External tests\n") == card.count("## Limits\n") == card.count("## Licence\n") == 1
        assert "| PH2 | 200 | 40 | 0.900 [0.831, 0.953] | 0.925 | 0.588 | 0.119 |" in card
        read_bundle(bundle)


def test_a_graph_without_tests_is_not_yet_scored(bundle: Path, tmp_path: Path):
    amend_card(bundle, of_graph(bundle, tmp_path / "external.json", "0" * 64))
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "## External tests\n\nExternal tests: not yet scored.\n\n## " in card
    assert "PH2" not in card
    read_bundle(bundle)


def test_the_card_says_what_an_unknown_camera_costs(bundle: Path, tmp_path: Path):
    report = ROOT / "results" / "student" / "compared" / "cameras.json"
    for _ in range(2):
        put_section(bundle, UNKNOWN_CAMERAS, unknown_cameras(report))
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.count("## Unknown cameras\n") == card.count("## External tests\n") == card.count("## Limits\n") == 1
    assert "0.789 [0.742, 0.835] there, on 1,195 images with 98 melanomas" in card
    assert "a difference of -0.131 [-0.167, -0.098]" in card
    read_bundle(bundle)
    other = json.loads(report.read_text(encoding="utf-8")) | {"baseline": "unknown"}
    (tmp_path / "other.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(InputError, match="must compare `unknown` with the baseline `known`"):
        unknown_cameras(tmp_path / "other.json")


def test_the_shipped_cards_are_up_to_date():
    for bundle in shipped_bundles().values():
        card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
        told = external.section(read_external(FILE), sha256_file(bundle / "model.onnx"))
        assert f"{external.HEADING}\n\n{told}\n\n" in card


def test_the_table_of_the_readme_says_so_too():
    rows = front.rows(ROOT)
    assert external.NOT_YET not in front.table([*rows, *rows][:3])
    assert f"| {external.NOT_YET} |" in front.table(rows[:2])


def test_the_page_shows_every_scored_bundle(tmp_path: Path):
    known = read_external(FILE)
    page = front.external_page(known, {"new": "0" * 64, "newer": "1" * 64})
    places = [page.index(f"## The shipped bundle `{name}`") for name in ("new", "newer")]
    assert places[0] < page.index(external.NOT_YET) < places[1] < page.index("## An earlier bundle") < page.index("PH2")
    shown = front.external_page(known, front.shipped_graphs(ROOT))
    assert f"{shown}\n<!-- /external tests" in (ROOT / front.EXTERNAL_PAGE).read_text(encoding="utf-8")


def test_another_format_is_refused(tmp_path: Path):
    (tmp_path / "other.json").write_text('{"format": "other", "note": "", "bundles": []}')
    with pytest.raises(InputError, match="external-tests/1"):
        read_external(tmp_path / "other.json")

"""The gate that ships: what it refuses, and how commands say so."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.predict.bundle import default_bundle, open_bundle, shipped_bundles
from dermdistill.predict.gate import REASONS, Gate, Verdict, in_words, read_facts
from dermdistill.predict.predictor import Predictor

EXAMPLE = Path(__file__).resolve().parents[2] / "web" / "example.jpg"
"""A lesion that is drawn."""


@pytest.fixture(scope="module")
def predictor():
    return Predictor(threads=1)


def _noise(draw):
    return np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)


def _text(draw):
    for row in range(0, 450, 18):
        draw.text((20, row), "Neither this page nor its next lines show any skin, as one can read. " * 2, "black")


def _screen(draw):
    for column in range(0, 600, 40):
        draw.rectangle((column, 30, column + 20, 420), ["blue", "lime", "gray"][column % 3])


@pytest.mark.parametrize(
    ("colour", "draws", "reason"),
    [
        ("black", None, "dark"),
        ("white", None, "bright"),
        ("white", None, "glare"),
        ("white", _text, "not_dermoscopic"),
        ("navy", _screen, "not_dermoscopic"),
        ("black", _noise, "not_dermoscopic"),
    ],
    ids=["black", "white", "white again", "text", "bars", "noise"],
)
def test_what_is_no_dermoscopic_photograph_is_refused(predictor, tmp_path, colour, draws, reason):
    image = Image.new("RGB", (600, 450), colour)
    drawn = draws(ImageDraw.Draw(image)) if draws else None
    (image if drawn is None else Image.fromarray(drawn)).save(tmp_path / "a.png")
    (result,) = predictor.predict(tmp_path / "a.png")
    assert (result.status, result.probabilities, result.p_melanoma, result.decision) == ("refused", None, None, "")
    assert reason in result.quality.split(",")
    assert REASONS[reason] in result.message


def test_a_lesion_in_the_frame_passes_and_its_answer_is_that_without_a_gate(predictor):
    (result,) = predictor.predict(EXAMPLE)
    (without,) = Predictor(threads=1, gate="off").predict(EXAMPLE)
    assert (result.status, result.quality, result.message) == ("ok", "good", "")
    assert result.probabilities == pytest.approx(without.probabilities, abs=1e-6)
    assert without.quality is None


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
@pytest.mark.parametrize(("mode", "code"), [("refuse", 1), ("judge", 0), ("off", 0)])
def test_the_command_tells_of_each_refused_image(tmp_path, form, mode, code):
    Image.new("RGB", (600, 450), "white").save(tmp_path / "page.png")
    call = ["predict", str(EXAMPLE), str(tmp_path / "page.png"), "--gate", mode, "--format", form]
    run = CliRunner().invoke(app, call)
    assert run.exit_code == code, run.output
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(run.stdout)))
    else:
        rows = json.loads(run.stdout)["results"] if form == "json" else map(json.loads, run.stdout.splitlines())
    good, page = rows
    assert good["status"] == "ok"
    assert page["status"] == ("ok" if mode == "off" else "refused")
    assert (page["p_melanoma"] in ("", None), page["decision"] == "") == (mode == "refuse", mode == "refuse")
    assert ("it is too bright" in page["message"]) == (mode != "off")
    assert ("1 of 2 images are refused by the model's gate" in run.stderr) == (mode != "off")
    assert "could not be read" not in run.stderr


def test_the_gates_that_ship_fit_their_models_and_bind_no_more_than_the_weights():
    """`gate add` looks at the licences; a bundle that was edited by hand is told here."""
    from dermdistill.licences import KINDS, binding, kind_of

    assert (default_bundle() / "gate.onnx").is_file()
    for folder in shipped_bundles().values():
        bundle = open_bundle(folder)
        if bundle.gate is not None:
            facts = Gate(bundle.gate, bundle.spec.input.size).facts
            kinds = [KINDS.index(kind_of(one)) for one in (binding(facts.licences), bundle.spec.licence.weights)]
            assert kinds[0] <= kinds[1]


def test_the_default_models_card_tells_of_its_gate():
    card = (default_bundle() / "MODEL_CARD.md").read_text(encoding="utf-8")
    facts = read_facts(default_bundle() / "gate.onnx")
    assert "\n## Gate\n" in card
    assert f"fitted on {facts.images:,} dermoscopic images" in card
    assert "still gets a probability" not in card


def test_reasons_are_told_by_name_and_in_words():
    verdict = Verdict({"dark": 0.1}, ("dark", "blurred"))
    assert (verdict.word, verdict.message) == ("dark,blurred", "it is too dark; it is blurred, or shows nothing")
    assert (Verdict({}, ()).word, Verdict({}, ()).message) == ("good", "")
    assert in_words(["upside_down"]) == "upside_down"


def test_what_is_no_gate_is_told(tmp_path):
    with pytest.raises(IntegrityError, match="is not a gate"):
        read_facts(default_bundle() / "model.onnx")
    with pytest.raises(IntegrityError, match="for images of 112 px, the model takes 64 px"):
        Gate(default_bundle() / "gate.onnx", 64)
    with pytest.raises(InputError, match="gate must be one of refuse, judge, off, got 'no'"):
        Predictor(gate="no")

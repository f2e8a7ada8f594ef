"""A gate from its fit to a bundle that refuses."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from PIL import Image

from dermdistill.data.synthetic.generate import generate
from dermdistill.errors import InputError, IntegrityError
from dermdistill.export.convert import convert, keep
from dermdistill.export.gate.add import add_gate
from dermdistill.export.gate.examine import collections, count, cross_fitted, of_folders
from dermdistill.export.gate.fit import (
    NOT_DERMOSCOPIC,
    Fitted,
    Photographs,
    Plan,
    choose_limits,
    fit_gate,
    load_photographs,
)
from dermdistill.export.gate.negatives import DRAWN, TORN, drawn, torn
from dermdistill.export.gate.network import Judge, Measures, as_images, macs, pooled, write_gate
from dermdistill.predict.bundle import open_bundle, shipped_bundles
from dermdistill.predict.gate import REASONS, Gate
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.runtime import as_batch

PLAN = Plan(size=64, folds=2, epochs=2)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Generated lesions, which pass for real ones here."""
    made = generate(tmp_path_factory.mktemp("lesions"), 60, 64)
    return made.assign(
        source=np.where(np.arange(60) % 2, "one", "two"), licence="CC0-1.0", lesion_id=pd.NA, patient_id=pd.NA
    )


@pytest.fixture(scope="module")
def photographs(manifest: pd.DataFrame) -> Photographs:
    return load_photographs(manifest, PLAN.size, 30)


@pytest.fixture(scope="module")
def fitted(manifest: pd.DataFrame, photographs: Photographs) -> Fitted:
    return fit_gate(photographs, manifest, PLAN, lambda line: None)


@pytest.fixture(scope="module")
def graph(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gate") / "gate.onnx"
    write_gate(fitted.network, fitted.facts, path)
    return path


def test_the_graph_says_what_the_network_says(fitted: Fitted, graph: Path, photographs: Photographs):
    pixels = np.concatenate([photographs.pixels[:8], drawn(9, 64, 5)])
    with torch.no_grad():
        expected, excess = (part.numpy() for part in fitted.network(as_images(pixels)))
    verdicts = Gate(graph, 64).judge(as_batch(pixels))
    np.testing.assert_allclose([list(one.measures.values()) for one in verdicts], expected, atol=1e-4)
    clear = np.abs(excess).min(1) > 1e-3
    for verdict, over, sure in zip(verdicts, excess, clear, strict=True):
        if sure:
            assert verdict.reasons == tuple(name for name, value in zip(REASONS, over, strict=True) if value > 0)


def test_measures_worked_in_numpy():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3)).astype(np.uint8)
    light = pixels.astype(float) / 255 @ [0.299, 0.587, 0.114]
    rows = np.arange(1, 19, 2)
    inside = ((rows - 9.5) ** 2)[:, None] + ((rows - 9.5) ** 2)[None] <= 81
    found = Measures(20)(as_images(pixels)).numpy()
    for image, row in zip(light, found, strict=True):
        here = image[np.ix_(rows, rows)]
        edges = np.array([[4 * image[y, x] - image[y - 1, x] - image[y + 1, x] - image[y, x - 1] - image[y, x + 1]
                           for x in rows] for y in rows])  # fmt: skip
        spread = np.sqrt(here[inside].var() + 1e-6)
        expected = [
            np.abs(edges)[inside].mean() / spread, here[inside].mean(), here[inside].mean(),
            (here[inside] >= 250 / 255).mean(), (here < 20 / 255).mean(),
        ]  # fmt: skip
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("value", "reason"), [(0, "dark"), (255, "bright")])
def test_black_and_white_are_refused_for_what_they_are(graph: Path, value: int, reason: str):
    (verdict,) = Gate(graph, 64).judge(as_batch(np.full((1, 64, 64, 3), value, np.uint8)))
    assert {reason, "blurred"} <= set(verdict.reasons)
    assert verdict.word.split(",") == list(verdict.reasons)
    assert verdict.message


def test_the_limit_is_a_quantile_of_what_was_not_learned_from():
    unseen = np.arange(1000.0)
    measures = np.tile(np.arange(1000.0)[:, None], 5)
    judge, blurred, dark, *_, unframed = choose_limits(unseen, measures)
    assert (unseen > judge).mean() == pytest.approx(NOT_DERMOSCOPIC, abs=0.001)
    assert blurred == dark < 1 < 998 < unframed


def test_each_image_is_cross_fitted_by_the_other_part(fitted: Fitted, photographs: Photographs):
    found = cross_fitted(fitted, photographs.table, PLAN.folds)
    assert found["all"].n == 60
    assert found["one"].n + found["two"].n == 60
    assert found["one"].refused + found["two"].refused == found["all"].refused
    by_hand = 0
    for part in (0, 1):
        other = fitted.fold != part
        limits = choose_limits(fitted.unseen[other], fitted.measures[other])
        rows = np.column_stack([fitted.unseen, fitted.measures])[~other]
        over = [rows[:, at] < limit if name in ("blurred", "dark") else rows[:, at] > limit
                for at, (name, limit) in enumerate(zip(REASONS, limits, strict=True))]  # fmt: skip
        by_hand += int(np.any(over, axis=0).sum())
    assert found["all"].refused == by_hand


def test_reasons_are_counted_and_an_image_once():
    excess = np.full((3, 6), -1.0)
    excess[0, :2] = 1
    found = count(excess)
    assert (found.n, found.refused, found.reasons["not_dermoscopic"], found.reasons["blurred"]) == (3, 1, 1, 1)


def test_sources_that_share_lesions_are_one_collection(manifest: pd.DataFrame):
    assert set(collections(manifest)) == {"one", "two"}
    shared = manifest.assign(lesion_id=["HAM_0000550"] * 2 + [f"l{number}" for number in range(58)])
    assert set(collections(shared)) == {"one+two"}


def test_negatives_depend_on_the_seed_alone(photographs: Photographs):
    np.testing.assert_array_equal(drawn(9, 32, 1), drawn(9, 32, 1))
    assert (drawn(len(DRAWN), 32, 1) != drawn(len(DRAWN), 32, 2)).any((1, 2, 3)).all()
    first = torn(len(TORN), photographs.pixels, 1)
    np.testing.assert_array_equal(first, torn(len(TORN), photographs.pixels, 1))
    assert first.shape == (4, 64, 64, 3)


@pytest.mark.parametrize("size", [112, 64])
def test_the_judge_costs_less_than_a_tenth_of_the_shipped_student(size: int):
    counted = []

    def add(module: torch.nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        counted.append(made[0].numel() * module.weight[0].numel())

    judge = Judge(size).eval()
    for module in judge.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(add)
    judge(judge.shrink(torch.zeros(1, 3, size, size)))
    assert macs(size) == sum(counted)
    assert macs(size) < 0.1 * open_bundle(f"lite0-cut-{size}").spec.model.macs


def test_an_input_is_averaged_to_half_at_least_unless_it_is_tiny():
    assert [pooled(size) for size in (32, 64, 112, 224)] == [1, 2, 2, 4]


def test_generated_images_are_no_dermoscopy_to_fit_on(manifest: pd.DataFrame):
    with pytest.raises(InputError, match="real dermoscopic images"):
        load_photographs(manifest.assign(source="synthetic"), 64, 30)
    with pytest.raises(InputError, match="at least 50 dermoscopic images, 40 can be opened"):
        load_photographs(manifest, 64, 20)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The shipped bundle of 64 px without its gate."""
    folder = shutil.copytree(shipped_bundles()["lite0-cut-64"], tmp_path / "plain")
    (folder / "gate.onnx").unlink(missing_ok=True)
    header = json.loads((folder / "bundle.json").read_text())
    header["files"].pop("gate.onnx", None)
    (folder / "bundle.json").write_text(json.dumps(header))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "bundle.json"
    }


def test_a_bundle_gets_a_gate_and_keeps_its_model(plain: Path, graph: Path, tmp_path: Path, photographs: Photographs):
    out = add_gate(plain, graph, tmp_path / "gated")
    before, after = hashes(plain), hashes(out)
    assert {name for name in before if after[name] != before[name]} == {"MODEL_CARD.md"}
    assert set(after) - set(before) == {"gate.onnx"}
    black = tmp_path / "black.png"
    Image.new("RGB", (80, 60)).save(black)
    (refused,) = Predictor(out).predict(black)
    assert (refused.status, refused.p_melanoma, refused.decision) == ("refused", None, "")
    assert "too dark" in refused.message
    (judged,) = Predictor(out, gate="judge").predict(black)
    (off,) = Predictor(out, gate="off").predict(black)
    (without,) = Predictor(plain).predict(black)
    assert judged.status == "refused"
    assert judged.p_melanoma == off.p_melanoma == without.p_melanoma
    assert (off.status, off.quality, without.quality) == ("ok", None, None)


def test_the_card_tells_of_the_gate_once(plain: Path, graph: Path, tmp_path: Path):
    def without(text: str) -> str:
        before, heading, after = text.partition("## Gate\n")
        return before + after[after.index("## Limits\n") :] if heading else before

    once = add_gate(plain, graph, tmp_path / "once")
    texts = [(folder / "MODEL_CARD.md").read_text(encoding="utf-8") for folder in (plain, once)]
    assert f"fitted on {Gate(graph, 64).facts.images} dermoscopic images (CC0-1.0)" in texts[1]
    assert without(texts[0]) == without(texts[1])
    assert hashes(add_gate(once, graph, tmp_path / "twice")) == hashes(once)
    (plain / "MODEL_CARD.md").unlink()
    header = json.loads((plain / "bundle.json").read_text())
    del header["files"]["MODEL_CARD.md"]
    (plain / "bundle.json").write_text(json.dumps(header))
    assert not (add_gate(plain, graph, tmp_path / "bare") / "MODEL_CARD.md").exists()


def test_further_forms_keep_the_gate(plain: Path, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DERMDISTILL_DATA", raising=False)
    gated, lines = add_gate(plain, graph, tmp_path / "gated"), []
    out = convert(gated, ["onnx-fp16"], tmp_path / "forms", count=60, tell=lines.append)
    Image.new("RGB", (80, 60)).save(tmp_path / "black.png")
    (refused,) = Predictor(out, precision="fp16").predict(tmp_path / "black.png")
    assert (refused.status, refused.p_melanoma) == ("refused", None)
    keep(out, ())
    assert not (out / "model.fp16.onnx").exists()
    assert hashes(out)["gate.onnx"] == hashes(gated)["gate.onnx"]
    assert open_bundle(out).gate == out / "gate.onnx"


def test_a_batch_has_refused_and_answered_images_in_their_order(
    plain: Path, graph: Path, tmp_path: Path, photographs: Photographs, manifest: pd.DataFrame
):
    predictor = Predictor(add_gate(plain, graph, tmp_path / "gated"))
    verdicts = predictor.gate.judge(as_batch(photographs.pixels))
    good = [path for path, one in zip(photographs.table["path"], verdicts, strict=True) if not one.reasons][:3]
    assert len(good) == 3
    Image.new("RGB", (80, 60)).save(tmp_path / "black.png")
    files = [good[0], str(tmp_path / "black.png"), good[1], str(tmp_path / "none.png"), good[2]]
    found = list(predictor.predict(files))
    assert [one.status for one in found] == ["ok", "refused", "ok", "missing", "ok"]
    alone = [next(Predictor(plain).predict(path)).p_melanoma for path in good]
    assert [found[at].p_melanoma for at in (0, 2, 4)] == pytest.approx(alone, abs=1e-6)
    assert [one.quality for one in found][0::2] == ["good"] * 3


def test_what_is_no_gate_is_refused(plain: Path, graph: Path, tmp_path: Path):
    with pytest.raises(InputError, match="there is no gate at"):
        add_gate(plain, tmp_path / "none.onnx", tmp_path / "out")
    with pytest.raises(IntegrityError, match="is not a gate"):
        add_gate(plain, plain / "model.onnx", tmp_path / "out")
    with pytest.raises(IntegrityError, match="for images of 64 px, the model takes 112 px"):
        add_gate(shipped_bundles()["lite0-cut-112"], graph, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_may_not_be_freer_than_the_images_of_their_gate(graph: Path, plain: Path, tmp_path: Path):
    model = onnx.load(graph)
    (entry,) = model.metadata_props
    entry.value = entry.value.replace("CC0-1.0", "CC BY-NC 4.0")
    onnx.save(model, tmp_path / "bound.onnx")
    add_gate(plain, tmp_path / "bound.onnx", tmp_path / "gated")  # whose weights are bound likewise
    text = (plain / "bundle.json").read_text()
    header = json.loads(text)
    header["licence"]["weights"] = "CC0-1.0"
    header["data"] |= {"licences": ["CC0-1.0"], "teachers_licences": []}
    (plain / "bundle.json").write_text(json.dumps(header))
    with pytest.raises(InputError, match=r"fitted on images under CC BY-NC 4\.0"):
        add_gate(plain, tmp_path / "bound.onnx", tmp_path / "other")


def test_folders_are_counted(graph: Path, tmp_path: Path):
    Image.new("RGB", (80, 60)).save(tmp_path / "black.png")
    (found,) = of_folders(Gate(graph, 64), [tmp_path]).values()
    assert (found.n, found.refused) == (1, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        of_folders(Gate(graph, 64), [tmp_path / "empty"])

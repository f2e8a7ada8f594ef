"""The HTML report: verdict, contents, sample images, training curves."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermdistill.classes import BINARY_CLASSES
from dermdistill.evaluate.render.text import verdict
from dermdistill.evaluate.report import FromImages, evaluate


@pytest.fixture
def models(make_model) -> dict:
    return {"teacher": make_model(3.0, seed=1), "student": make_model(1.0, seed=2)}


def test_the_verdict_says_what_is_worse_and_on_what(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    report = evaluate(manifest, models, tmp_path, replicates=200)
    text = " ".join(verdict(report))
    auroc = report.models["student"].metrics["auroc"]
    assert f"{report.data.n} test images of {report.data.clusters} lesions ({report.data.positives} melanomas)" in text
    assert f"AUROC of {auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]" in text
    assert "It is worse than teacher: teacher has " in text
    page = (tmp_path / "report.html").read_text()
    assert page.index('class="verdict"') < page.index("<nav") < page.index("<table")
    assert "This is research software, not a medical device." in page


def test_the_verdict_claims_no_more_than_the_interval(manifest: pd.DataFrame, make_model, tmp_path: Path):
    twins = {"teacher": make_model(2.0), "student": make_model(2.0), "third": make_model(3.0, seed=5)}
    text = " ".join(verdict(evaluate(manifest, twins, tmp_path, replicates=200)))
    assert "The images do not show which of student and teacher is better" in text
    assert text.endswith("1 more model is compared below.")
    better = {"teacher": make_model(1.0), "student": make_model(4.0)}
    text = " ".join(verdict(evaluate(manifest, better, tmp_path, replicates=200)))
    assert "It is better than teacher" in text


def test_the_verdict_of_an_undefined_figure(manifest: pd.DataFrame, make_model, tmp_path: Path):
    model = make_model()
    tested = manifest["image_id"].isin(model.ids("test"))
    kept = manifest[~tested | (manifest["melanoma"] == 0)].reset_index(drop=True)
    model = replace(model, table=model.table[model.table["image_id"].isin(kept["image_id"])])
    (text,) = verdict(evaluate(kept, {"m": model}, tmp_path, replicates=100))
    assert "the melanoma AUROC of m is undefined: needs melanomas and others" in text


def test_the_contents_lead_to_every_section(manifest: pd.DataFrame, models: dict, make_model, tmp_path: Path):
    evaluate(manifest, {**models, "binary": make_model(classes=BINARY_CLASSES)}, tmp_path, replicates=100)
    page = (tmp_path / "report.html").read_text()
    contents = re.findall(r'<li><a href="#(\w+)">', page)
    sections = re.findall(r'<h2 id="(\w+)">', page)
    assert contents == sections
    assert "missing" in sections


def with_images(manifest: pd.DataFrame, folder: Path, broken: set[str]) -> pd.DataFrame:
    for index, name in enumerate(manifest["image_id"]):
        path = folder / f"{name}.jpg"
        if name in broken:
            path.write_text("no image")
        else:
            colour = np.random.default_rng(index).integers(0, 256, 3)
            Image.new("RGB", (320, 200), tuple(int(part) for part in colour)).save(path)
    return manifest.assign(path=[str(folder / f"{name}.jpg") for name in manifest["image_id"]])


def test_sample_images_are_thumbnails_with_answers(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    tested = set(models["teacher"].ids("test"))
    broken = set(manifest[manifest["image_id"].isin(tested)]["image_id"].head(40))
    manifest = with_images(manifest, tmp_path, broken)
    evaluate(manifest, models, tmp_path / "with", replicates=100, images=FromImages(samples=5))
    page = (tmp_path / "with" / "report.html").read_text()
    shown = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="(\w+), ', page)
    assert len(shown) == 5
    names = [name for _, name in shown]
    assert set(names) <= tested - broken
    melanoma = manifest.set_index("image_id")["melanoma"].loc[names]
    assert melanoma.sum() == 2
    for content, _ in shown:
        assert max(Image.open(io.BytesIO(base64.b64decode(content))).size) == 160
    assert page.count("student: ") >= 5


def test_no_image_lies_in_the_page_unless_asked_for(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    manifest = with_images(manifest, tmp_path, set())
    evaluate(manifest, models, tmp_path / "out", replicates=100)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image" not in page
    assert "<img" not in page


def test_no_thumbnail_where_no_image_can_be_opened(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    evaluate(manifest, models, tmp_path, replicates=100, images=FromImages(samples=4))
    assert "Sample images" not in (tmp_path / "report.html").read_text()


def test_training_curves_of_runs(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    epochs = [{"epoch": epoch, "loss": 1 / (epoch + 1), "auroc": 0.6 + 0.1 * epoch} for epoch in range(3)]
    models["student"] = replace(models["student"], epochs=epochs)
    evaluate(manifest, models, tmp_path, replicates=100)
    page = (tmp_path / "report.html").read_text()
    assert "melanoma AUROC on validation images" in page
    models["student"] = replace(models["student"], epochs=[{**line, "auroc": None} for line in epochs])
    evaluate(manifest, models, tmp_path, replicates=100)
    page = (tmp_path / "report.html").read_text()
    assert "training loss" in page
    assert "melanoma AUROC on validation images" not in page


def test_the_page_is_made_for_narrow_screens_and_print(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    evaluate(manifest, models, tmp_path, replicates=100)
    page = (tmp_path / "report.html").read_text()
    assert "@media print" in page
    assert "@media (max-width" in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//|url\((?!#)|@import", page)

"""The best and worst cases, with maps that a bundle draws."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill.evaluate.report import FromImages, evaluate


def with_images(manifest: pd.DataFrame, folder: Path) -> pd.DataFrame:
    for index, name in enumerate(manifest["image_id"]):
        colour = np.random.default_rng(index).integers(0, 256, 3)
        Image.new("RGB", (64, 48), tuple(int(part) for part in colour)).save(folder / f"{name}.png")
    return manifest.assign(path=[str(folder / f"{name}.png") for name in manifest["image_id"]])


def test_the_most_wrong_and_the_most_right_are_shown(manifest: pd.DataFrame, make_model, tmp_path: Path):
    model = make_model(1.5)
    manifest = with_images(manifest, tmp_path)
    seen = []

    def explain(image: Image.Image) -> Image.Image:
        seen.append(image.size)
        return Image.new("RGBA", (8, 8), (255, 0, 0, 128))

    images = FromImages(cases=2, explainers={"m": explain})
    evaluate(manifest, {"m": model}, tmp_path / "out", replicates=100, images=images)
    page = (tmp_path / "out" / "report.html").read_text()
    assert len(seen) == 8
    assert set(seen) == {(64, 48)}
    section = page[page.index('<h2 id="cases">') :].partition("</section>")[0]
    shown = re.findall(r'base64,[^"]+" alt="(img\d+), ', section)
    tested = manifest.set_index("image_id").loc[model.ids("test")]
    order = model.logits(tested.index.to_series())
    melanoma = model.classes.index("mel")
    chance = pd.Series(order[:, melanoma] - np.logaddexp.reduce(np.delete(order, melanoma, 1), axis=1), tested.index)
    is_melanoma = tested["melanoma"] == 1
    assert shown[:2] == list(chance[is_melanoma].nsmallest(2).index)
    assert shown[2:4] == list(chance[~is_melanoma].nlargest(2).index)
    assert shown[4:6] == list(chance[is_melanoma].nlargest(2).index)
    assert "what the model reacts to in" in section


def test_without_pictures_only_the_map_is_shown(manifest: pd.DataFrame, make_model, tmp_path: Path):
    manifest = with_images(manifest, tmp_path)

    def explain(image: Image.Image) -> Image.Image:
        return Image.new("RGBA", (8, 8), (0, 0, 255, 128))

    images = FromImages(cases=1, pictures=False, explainers={"m": explain})
    evaluate(manifest, {"m": make_model()}, tmp_path / "out", replicates=100, images=images)
    page = (tmp_path / "out" / "report.html").read_text()
    section = page[page.index('<h2 id="cases">') :].partition("</section>")[0]
    shown = re.findall(r'data:image/jpeg;base64,([^"]+)" alt="what the model reacts to in img', section)
    assert len(shown) == section.count("<img") == 4
    for uri in shown:
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("RGB")).astype(int)
        assert np.abs(drawn - [127, 127, 255]).max() <= 3  # half of blue and half of white: nothing of the image
    assert "left out of this page" in section


def test_the_cases_are_those_of_the_first_model_that_is_no_baseline(manifest: pd.DataFrame, make_model, tmp_path: Path):
    models = {"teacher": make_model(2.0), "student": make_model()}

    def explain(image: Image.Image) -> Image.Image:
        return Image.new("RGBA", (8, 8))

    images = FromImages(cases=1, explainers=dict.fromkeys(models, explain))
    evaluate(with_images(manifest, tmp_path), models, tmp_path / "out", replicates=100, images=images)
    section = (tmp_path / "out" / "report.html").read_text().partition('<h2 id="cases">')[2].partition("</section>")[0]
    assert "on which student is" in section


def test_no_case_lies_in_the_page_unless_asked_for(manifest: pd.DataFrame, make_model, tmp_path: Path):
    evaluate(with_images(manifest, tmp_path), {"m": make_model()}, tmp_path / "out", replicates=100)
    assert 'id="cases"' not in (tmp_path / "out" / "report.html").read_text()

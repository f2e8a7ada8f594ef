"""The best and worst cases, with maps that a bundle draws."""

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
        return image.rotate(180)

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


def test_no_case_lies_in_the_page_unless_asked_for(manifest: pd.DataFrame, make_model, tmp_path: Path):
    evaluate(with_images(manifest, tmp_path), {"m": make_model()}, tmp_path / "out", replicates=100)
    assert 'id="cases"' not in (tmp_path / "out" / "report.html").read_text()

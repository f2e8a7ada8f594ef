"""The sections on spoiled images, abstaining and maps, from the command's parts to the page."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill.evaluate.analyses.explanations import Explained
from dermdistill.evaluate.analyses.robustness import Answerer
from dermdistill.evaluate.document import load_report
from dermdistill.evaluate.report import FromImages, evaluate
from dermdistill.images.corruptions import CORRUPTIONS

SIZE = 16


def darkness(images: np.ndarray) -> np.ndarray:
    return 1 - images.astype(float).mean((1, 2, 3)) / 255


def test_the_page_has_the_three_sections(manifest: pd.DataFrame, make_model, tmp_path: Path):
    model = make_model()
    judged = model.table.loc[model.table["role"] == "test", "image_id"]
    melanoma = manifest.set_index("image_id").loc[judged, "melanoma"].to_numpy()
    chosen = [*judged[melanoma == 1][:4], *judged[melanoma == 0][:4]]
    for number, name in enumerate(chosen):
        small = np.random.default_rng(number).integers(60, 200, (5, 5, 3)).astype(np.uint8)
        Image.fromarray(small).resize((48, 40)).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in manifest["image_id"]]
    answerer = Answerer(SIZE, 0.5, darkness)
    images = FromImages(
        corrupted={"first": answerer, "second": answerer},
        explained={"first": Explained(SIZE, darkness, {"all layers": darkness})},
        explained_images=200,
    )  # fmt: skip
    evaluate(manifest.assign(path=paths), {"a": model}, tmp_path / "out", replicates=100, images=images)
    report = load_report(tmp_path / "out" / "report.json")
    assert (report.corruptions["first"].n, report.explanations["first"].n) == (8, 8)
    assert all(gap.value == 0 for gap in report.corruptions["second"].lost.values())
    assert report.selective.keys() == {"a"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for anchor in ("corruptions", "selective", "explanations"):
        assert f'href="#{anchor}"' in page
        assert f'id="{anchor}"' in page
    for name in CORRUPTIONS:
        assert f'<th scope="row">{name}</th>' in page
    assert "all layers scrambled" in page


def test_without_images_only_abstaining_is_told(manifest: pd.DataFrame, make_model, tmp_path: Path):
    evaluate(manifest, {"a": make_model()}, tmp_path, replicates=100)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="selective"' in page
    assert 'id="corruptions"' not in page
    assert 'id="explanations"' not in page

"""The framings of whole frames, and what the script tells of them."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dermdistill.data.manifest import read_manifest, write_manifest
from dermdistill.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def framing():
    spec = importlib.util.spec_from_file_location("framing", ROOT / "scripts" / "framing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_crop_is_the_middle_and_padding_surrounds_it(framing):
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, 5:35] = (10, 20, 30)
    image = Image.fromarray(pixels)
    crop = np.asarray(framing.cropped(image))
    assert crop.shape == (30, 30, 3)
    assert (crop == (10, 20, 30)).all()
    pad = np.asarray(framing.padded(image))
    assert pad.shape == (40, 40, 3)
    assert (pad[5:35] == pixels).all()
    assert (pad[:5] == (10, 20, 30)).all(), "the median colour"


def test_each_framing_is_judged_on_the_test_images_of_one_source(framing, tmp_path, capsys):
    from dermdistill.data.synthetic.generate import generate

    manifest = generate(tmp_path / "images", n=60, size=48)
    write_manifest(manifest, tmp_path / "manifest.parquet")
    known = read_manifest(tmp_path / "manifest.parquet")
    roles = ["test"] * 40 + ["train"] * 20
    pd.DataFrame({"image_id": known["image_id"], "role": roles}).to_parquet(tmp_path / "predictions.parquet")
    places = [str(ROOT / "src" / "dermdistill" / "weights" / "lite0-cut-64"), str(tmp_path / "manifest.parquet")]
    call = [*places, str(tmp_path / "predictions.parquet"), "--replicates", "50", "--source"]
    framing.main([*call, known["source"].iloc[0]])
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("40 images, ")
    assert [line.split(":")[0] for line in told[1:]] == ["squashed", "cropped", "padded"]
    assert told[1].split(": ")[1] in told[2], "generated images are square: a crop changes nothing"
    with pytest.raises(InputError, match="no test images of 'elsewhere'"):
        framing.main([*call, "elsewhere"])

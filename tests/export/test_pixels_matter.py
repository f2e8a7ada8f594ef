"""From file to probability with a network that tells images apart.

The network of the fixture `trained`, after its one epoch, gives the same for every image: nothing that is done to
pixels shows in its answers. Here the statistics of BatchNorm are those of the images, and the last layer is fitted
to labels with noise, so that everything shows.
"""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch import nn

from dermdistill.classes import CLASSES
from dermdistill.errors import IntegrityError
from dermdistill.export import parity as parity_module
from dermdistill.export.bundle import export_bundle
from dermdistill.export.formats.onnx import Deployed
from dermdistill.export.parity import PROBABILITY_TOLERANCE, SIZES, Photographs, check_parity
from dermdistill.files import sha256_file
from dermdistill.images.preprocess import load_rgb, resize_square
from dermdistill.networks.registry import build
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.predictor import Predictor

MEAN, STD = (0.4, 0.5, 0.7), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def lively(trained, tmp_path_factory):
    """The unfused network, its bundle, the manifest, and the manifest's pixels as float32 [N, 3, 32, 32]."""
    folder = tmp_path_factory.mktemp("lively")
    shutil.copytree(trained.run.folder, folder / "run")
    run = folder / "run"
    images = [resize_square(load_rgb(path), 32) for path in trained.manifest["path"]]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    torch.manual_seed(0)
    model = build("repds", len(CLASSES), image_size=32, weights="none")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all that was seen
    normalised = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        model.train()(normalised)
        features = model.eval().pool(model.features(normalised))
        right = torch.eye(len(CLASSES))[[CLASSES.index(name) for name in trained.manifest["diagnosis"]]]
        wanted = 2 * right + torch.randn(right.shape)
        model.classifier[1].weight.copy_((torch.linalg.pinv(features, rtol=0.1) @ wanted).T)
        logits = model(normalised).numpy()
    save_file(model.state_dict(), run / "model.safetensors")
    header = json.loads((run / "run.json").read_text())
    header |= {"mean": MEAN, "std": STD, "model_sha256": sha256_file(run / "model.safetensors")}
    (run / "run.json").write_text(json.dumps(header))
    table = pd.read_parquet(run / "predictions.parquet")
    rows = pd.Index(trained.manifest["image_id"]).get_indexer(table["image_id"])
    table[[f"logit_{name}" for name in CLASSES]] = logits[rows]
    table.to_parquet(run / "predictions.parquet")
    bundle = export_bundle(run, folder / "bundle", trained.manifest)
    return SimpleNamespace(model=model, bundle=bundle, manifest=trained.manifest, pixels=pixels, table=table)


def _expected(lively, pixels):
    temperature = Predictor(lively.bundle).bundle.spec.temperature
    with torch.inference_mode():
        return Deployed(lively.model, MEAN, STD, temperature)(pixels)[1].numpy()


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_bundle_gives_what_the_unfused_network_gives(lively, count):
    expected = _expected(lively, lively.pixels[:count])
    found = list(Predictor(lively.bundle).predict(lively.manifest["path"][:count], batch_size=count))
    np.testing.assert_allclose([result.probabilities for result in found], expected, atol=PROBABILITY_TOLERANCE)
    assert [result.p_melanoma for result in found] == [result.probabilities[4] for result in found]
    assert np.ptp(_expected(lively, lively.pixels), axis=0).max() > 0.3  # else this would show nothing


def test_each_file_gets_its_own_row_whatever_the_batch(lively, tmp_path):
    """Files that cannot be read, at the edges of batches too, do not shift the others."""
    expected = _expected(lively, lively.pixels[:5])
    assert len(np.unique(expected.round(5), axis=0)) == 5
    a, b, c, d, e = lively.manifest["path"][:5]
    files = [tmp_path / "no.png", a, b, tmp_path, c, tmp_path / "no.png", tmp_path / "no.png", e, d]
    for batch in (1, 2, 3, 16):
        found = list(Predictor(lively.bundle).predict(files, batch))
        assert [result.file for result in found] == [str(file) for file in files]
        good = [result.probabilities for result in found if result.status == "ok"]
        np.testing.assert_allclose(good, expected[[0, 1, 2, 4, 3]], atol=PROBABILITY_TOLERANCE)


def test_the_decisions_have_the_sensitivity_that_the_bundle_tells(lively):
    """Run on the validation images, `predict` itself keeps the promise of each threshold."""
    rows = lively.manifest.set_index("image_id").loc[lively.table.query("role == 'validation'")["image_id"]]
    melanoma = rows["melanoma"].to_numpy() == 1
    spec = Predictor(lively.bundle).bundle.spec
    for name, point in spec.thresholds.items():
        lower = Predictor(lively.bundle, threshold=point.value - PROBABILITY_TOLERANCE)
        above = np.array([result.decision == "above_threshold" for result in lower.predict(rows["path"])])
        assert above[melanoma].mean() == pytest.approx(point.sensitivity), name
        assert (~above[~melanoma]).mean() == pytest.approx(point.specificity), name


def test_the_recipe_in_the_documentation_gives_the_same(lively, tmp_path):
    """docs/how-to/deploy.md, 'Use the graph without dermdistill', on a photo that is wide, turned and a JPEG."""
    coarse = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(coarse).resize((180, 120), Image.Resampling.NEAREST).save(tmp_path / "photo.jpg", exif=exif)

    session = onnxruntime.InferenceSession(str(lively.bundle / "pixels.onnx"), providers=["CPUExecutionProvider"])
    image = ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg")).convert("RGB")
    assert image.size == (120, 180)
    (of_pixels,) = session.run(["probabilities"], {"image": np.asarray(image)})

    session = onnxruntime.InferenceSession(str(lively.bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[2]
    for shape in ((size, image.height), (size, size)):
        image = image.resize(shape, Image.Resampling.BILINEAR)
    entry = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
    _, probabilities = session.run(["logits", "probabilities"], {"image": entry})
    (result,) = Predictor(lively.bundle).predict([tmp_path / "photo.jpg"])
    np.testing.assert_allclose(result.probabilities, probabilities[0], atol=1e-6)
    np.testing.assert_allclose(result.probabilities, of_pixels, atol=1e-6)


def test_the_header_tells_how_far_the_graphs_are_off(lively):
    """On all validation images, whose answers differ: no decision changes, and the AUROC hardly."""
    parity = read_bundle(lively.bundle).spec.parity
    count = (lively.table["role"] == "validation").sum()
    for of_graph in (parity.model, parity.pixels):
        assert of_graph.photographs == count
        assert of_graph.decision_flips == 0
        assert of_graph.auroc_difference == pytest.approx(0, abs=1e-3)
        assert of_graph.auroc_undefined is None
        assert 0 < of_graph.logits_max_abs_difference < 1e-2
        assert of_graph.pixels_max_abs_difference == 0
    assert parity.model.generated == 22
    assert parity.pixels.generated == len(SIZES)


def test_a_graph_that_decides_otherwise_is_told_and_refused(lively, tmp_path, monkeypatch):
    """A network that differs a little more than is allowed; and the same where that much is allowed."""
    for name in ("model.onnx", "pixels.onnx"):
        shutil.copy(lively.bundle / name, tmp_path / name)
    spec = read_bundle(lively.bundle).spec
    rows = lively.manifest
    images = Photographs(tuple(rows["path"]), rows["melanoma"].to_numpy(int), spec.melanoma_index, 0.5)
    other = Deployed(lively.model, MEAN, STD, spec.temperature * 4)
    with pytest.raises(IntegrityError, match=r"model\.onnx does not agree with PyTorch: .*nothing was written"):
        check_parity(other, tmp_path, 32, images)
    monkeypatch.setattr(parity_module, "PROBABILITY_TOLERANCE", 1.0)
    with pytest.raises(IntegrityError, match=r"pixels\.onnx does not agree with PyTorch: .*nothing was written"):
        check_parity(other, tmp_path, 32, images)
    monkeypatch.setattr(parity_module, "RESIZED_TOLERANCE", 1.0)
    facts = check_parity(other, tmp_path, 32, images)
    expected, found = _expected(lively, lively.pixels)[:, 4], None
    with torch.inference_mode():
        found = other(lively.pixels)[1].numpy()[:, 4]
    assert facts["pixels"]["decision_flips"] == ((expected >= 0.5) != (found >= 0.5)).sum() > 0
    none = check_parity(other, tmp_path, 32, Photographs((), np.array([]), 4, 0.5))
    assert none["model"]["auroc_undefined"] == "there are no photographs"
    nevi = rows["melanoma"] == 0
    nevi = check_parity(other, tmp_path, 32, Photographs(tuple(rows["path"][nevi]), np.zeros(nevi.sum()), 4, 0.5))
    assert nevi["model"]["auroc_difference"] is None
    assert nevi["model"]["auroc_undefined"] == "they are all melanomas, or none is"

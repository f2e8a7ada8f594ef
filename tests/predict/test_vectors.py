"""A bundle's test vectors: any language can draw them, and what differs is told."""

import base64
import hashlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError, IntegrityError
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.bundle import read_bundle
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.vectors import verify


def test_they_can_be_drawn_and_judged_from_bundle_json_alone(trained):
    """By the words of the reference, without this package's code for it."""
    spec = json.loads((trained.bundle / "bundle.json").read_text())
    size, shapes = spec["input"]["size"], set()
    for vector in spec["vectors"]["images"]:
        pattern = vector["image"]
        width, height = pattern["width"], pattern["height"]
        shapes.add((width > size, width < size, height > size, height < size))
        pixels = bytearray()
        for y in range(height):
            for x in range(width):
                wave = (pattern["xx"] * x * x + pattern["xy"] * x * y + pattern["yy"] * y * y) // 64 % 64
                pixels += bytes(base + wave for base in pattern["base"])
        assert hashlib.sha256(pixels).hexdigest() == vector["image_sha256"]
        resized = resize_square(Image.frombytes("RGB", (width, height), bytes(pixels)), size)
        assert hashlib.sha256(resized.tobytes()).hexdigest() == vector["resized_sha256"]
        places = [(2 * k + 1) * size // 32 for k in range(16)]
        samples = bytes(resized[row, column, c] for row in places for column in places for c in range(3))
        assert base64.b64encode(samples).decode() == vector["resized_samples"]
        found = Predictor(trained.bundle).probabilities(resized[None])[0]
        np.testing.assert_allclose(found, vector["probabilities"], atol=1e-5)
    assert len(shapes) >= 4  # enlarged, shrunk, one and then the other side


def test_both_graphs_of_a_fresh_bundle_give_its_answers(trained):
    bundle = read_bundle(trained.bundle)
    checked = verify(bundle)
    assert {(one.graph, one.vector) for one in checked} == {
        (graph, vector.name) for graph in ("pixels.onnx", "model.onnx") for vector in bundle.spec.vectors.images
    }
    assert max(one.pixels for one in checked) == 0
    assert max(one.probability for one in checked) < 1e-4


def _changed(trained, folder, change):
    shutil.copytree(trained.bundle, folder)
    content = json.loads((folder / "bundle.json").read_text())
    change(content["vectors"]["images"])
    (folder / "bundle.json").write_text(json.dumps(content))
    return read_bundle(folder)


def _other_answer(images):
    images[3]["probabilities"] = [1.0, *[0.0] * (len(images[3]["probabilities"]) - 1)]


def _other_pixels(images):
    samples = bytearray(base64.b64decode(images[1]["resized_samples"]))
    samples[7] = (samples[7] + 128) % 256
    images[1]["resized_samples"] = base64.b64encode(samples).decode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_other_answer, r"model\.onnx, vector 'shrunk': resized pixels differ by 0 of 255 \(allowed 1\), .* by 0\."),
        (_other_pixels, r"pixels\.onnx, vector 'same': resized pixels differ by 128 of 255"),
        (lambda images: images[0].update(image_sha256="0" * 64), "'single' is drawn with another SHA-256"),
        (lambda images: images[0].update(resized_samples="AAAA"), "'single' has no base64 of 768 bytes"),
        (lambda images: images[0].update(resized_samples="?"), "'single' has no base64 of 768 bytes"),
    ],
)  # fmt: skip
def test_what_differs_is_told(trained, tmp_path, change, told):
    with pytest.raises(IntegrityError, match=told):
        verify(_changed(trained, tmp_path / "bundle", change))


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[0]["probabilities"].pop(),
        lambda images: images[0]["image"].update(width=4096),
        lambda images: images[0]["image"].update(base=[193, 0, 0]),
        lambda images: images[0]["image"].update(xx=16),
        lambda images: images.clear(),
    ],
)
def test_vectors_that_do_not_fit_are_refused_before_any_is_drawn(trained, tmp_path, change):
    with pytest.raises(IntegrityError, match=r"is damaged:\n  vectors|does not have a value for each of the classes"):
        _changed(trained, tmp_path / "bundle", change)


def test_the_command(trained, tmp_path):
    run = CliRunner().invoke(app, ["verify", str(trained.bundle)])
    assert run.exit_code == 0, run.output
    head, *rows = run.stdout.splitlines()
    assert head == "graph,vector,pixels_max_abs_difference,probability_max_abs_difference"
    assert len(rows) == 2 * len(read_bundle(trained.bundle).spec.vectors.images)
    _changed(trained, tmp_path / "bundle", _other_answer)
    run = CliRunner().invoke(app, ["verify", str(tmp_path / "bundle")])
    assert isinstance(run.exception, IntegrityError)
    assert run.exception.exit_code == 2


# Format 1


def test_a_bundle_of_format_1_predicts_as_before(trained, format_1, photos):
    files = sorted(photos.good.rglob("*.*"))
    old, new = (list(Predictor(folder).predict(files)) for folder in (format_1, trained.bundle))
    assert [result.status for result in old] == ["ok"] * 3
    assert old == new
    assert read_bundle(format_1).spec.graphs == ("model.onnx",)


def test_a_bundle_of_format_1_has_no_vectors(format_1):
    with pytest.raises(IntegrityError, match=r"is of dermdistill-bundle/1, which has no test vectors"):
        verify(read_bundle(format_1))


def test_another_format_is_refused(format_1, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(format_1, folder)
    content = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**content, "format": "dermdistill-bundle/3"}))
    with pytest.raises(
        IntegrityError, match="is not a dermdistill-bundle/2 file, its format is 'dermdistill-bundle/3'"
    ):
        read_bundle(folder)
    (folder / "bundle.json").unlink()
    with pytest.raises(InputError, match=r"has no bundle\.json"):
        read_bundle(folder)

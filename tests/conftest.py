"""Fixtures that every test may use."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: more threads mostly wait for each other

import pytest


def _data_folder() -> Path | None:
    named = os.environ.get("DERMDISTILL_DATA")
    folder = Path(named) if named else None
    known = folder is not None and (folder / "ham10000").is_dir() and (folder / "isic2017").is_dir()
    return folder if known else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real dermoscopic images (ham10000/, isic2017/), or skip."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no real images: set DERMDISTILL_DATA to a folder with ham10000/ and isic2017/")
    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """(manifest, splits, roles, cache folder) of 60 synthetic images of 48 px."""
    from dermdistill.data.splits import make_splits, roles
    from dermdistill.data.synthetic.generate import generate

    folder = tmp_path_factory.mktemp("small")
    manifest = generate(folder / "data", n=60, size=48, seed=0)
    splits = make_splits(manifest, 3)
    return manifest, splits, roles(splits, 0, 1), folder / "cache"


@pytest.fixture(scope="session")
def trained(small, tmp_path_factory):
    """The finished run of a student trained for an epoch, its manifest, and a bundle of it."""
    from dermdistill.distillation.distill import Lessons, distill
    from dermdistill.distillation.spec import SoftenSpec, StudentSpec
    from dermdistill.export.bundle import export_bundle
    from dermdistill.training.cohort import Cohort
    from dermdistill.training.loop import make_fabric

    manifest, splits, part, cache = small
    manifest = manifest.copy()
    folder = tmp_path_factory.mktemp("trained")
    spec = StudentSpec(
        name="tiny", model="repds", image_size=32, weights="none", labels="none",
        loss={"kind": "ce"}, train={"epochs": 1, "batch_size": 8},
    )  # fmt: skip
    cohort = Cohort(manifest, splits, part, make_fabric("cpu"), cache)
    run = distill(spec, cohort, folder / "run", Lessons(SoftenSpec(views=1)))
    bundle = export_bundle(run.folder, folder / "bundle", manifest)
    return SimpleNamespace(run=run, manifest=manifest, bundle=bundle)


@pytest.fixture(scope="session")
def format_1(trained, tmp_path_factory):
    """The trained student's bundle as version 0.1 wrote it: one graph, and no test vectors."""
    import json
    import shutil

    folder = tmp_path_factory.mktemp("format_1") / "bundle"
    shutil.copytree(trained.bundle, folder)
    (folder / "pixels.onnx").unlink()
    content = json.loads((folder / "bundle.json").read_text())
    for key in ("pixels", "vectors"):
        del content[key]
    del content["files"]["pixels.onnx"]
    of_model = content["parity"]["model"]
    known = ("logits_max_abs_difference", "probabilities_max_abs_difference", "probability_tolerance")
    parity = {key: of_model[key] for key in known}
    content["parity"] = {**parity, "images": of_model["generated"], "runtimes": content["parity"]["runtimes"]}
    (folder / "bundle.json").write_text(json.dumps({**content, "format": "dermdistill-bundle/1"}))
    return folder


@pytest.fixture
def photos(trained, tmp_path):
    """A folder with three good images (a.png, b.jpg, sub/c.png), and the paths of bad ones beside it."""
    from PIL import Image

    good = tmp_path / "photos"
    (good / "sub").mkdir(parents=True)
    paths = list(trained.manifest["path"][:3])
    for path, name in zip(paths, ("a.png", "b.jpg", "sub/c.png"), strict=True):
        Image.open(path).convert("RGB").save(good / name)
    bad = tmp_path / "bad"
    bad.mkdir()
    whole = (good / "b.jpg").read_bytes()
    (bad / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (bad / "text.jpg").write_text("not an image")
    (bad / "empty.png").touch()
    Image.new("RGB", (8, 8)).save(bad / "small.png")
    return SimpleNamespace(good=good, bad=bad)


@pytest.fixture
def make_manifest():
    """make_manifest(n): rows with all seven classes, lesions of two images each, ages and sexes."""
    import pandas as pd

    from dermdistill.data.manifest import COLUMNS, validate

    def make(count=70, source="one"):
        classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
        rows = [
            {
                "image_id": f"{source}_{row:04d}",
                "path": f"/nowhere/{source}_{row:04d}.png",
                "sha256": hashlib.sha256(f"{source}{row}".encode()).hexdigest(),
                "width": 64,
                "height": 64,
                "diagnosis": classes[(row // 2) % 7],
                "melanoma": int(classes[(row // 2) % 7] == "mel"),
                "lesion_id": f"L{row // 2}",
                "source": source,
                "age": 40.0,
                "sex": "female",
            }
            for row in range(count)
        ]
        return validate(pd.DataFrame(rows).reindex(columns=list(COLUMNS)))

    return make


@pytest.fixture
def picture():
    """picture(seed): an RGB image with some structure."""
    import numpy as np
    from PIL import Image

    def make(seed=0, size=96):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)

    return make


@pytest.fixture
def manifest_of():
    """manifest_of(paths, **columns): a manifest of image files, all nevi of one source."""
    import pandas as pd

    from dermdistill.data.manifest import COLUMNS, validate
    from dermdistill.files import sha256_file

    def make(paths, **columns):
        rows = [
            {
                "image_id": path.stem, "path": str(path), "sha256": sha256_file(path), "width": 96, "height": 96,
                "diagnosis": "nv", "melanoma": 0, "source": "one",
            }
            for path in paths
        ]  # fmt: skip
        return validate(pd.DataFrame(rows).assign(**columns).reindex(columns=list(COLUMNS)))

    return make

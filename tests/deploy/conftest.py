"""A student trained for an epoch and its bundle, shared by the tests of export and predict."""

from types import SimpleNamespace

import pytest
from PIL import Image

from dermdistill.config import SoftenSpec, StudentSpec
from dermdistill.export.bundle import export_bundle
from dermdistill.student.distill import distill
from dermdistill.training import make_fabric


@pytest.fixture(scope="session")
def trained(small, tmp_path_factory):
    """The finished run, its manifest, and a bundle of it."""
    manifest, splits, part, cache = small
    manifest = manifest.copy()
    folder = tmp_path_factory.mktemp("trained")
    spec = StudentSpec(
        name="tiny", model="repds", image_size=32, weights="none", labels="none",
        loss={"kind": "ce"}, train={"epochs": 1, "batch_size": 8},
    )  # fmt: skip
    run = distill(
        spec, manifest, splits, part, folder / "run",
        views=SoftenSpec(views=1), fabric=make_fabric("cpu"), cache=cache,
    )  # fmt: skip
    bundle = export_bundle(run.folder, folder / "bundle", manifest)
    return SimpleNamespace(run=run, manifest=manifest, bundle=bundle)


@pytest.fixture
def photos(trained, tmp_path):
    """A folder with three good images (a.png, b.jpg, sub/c.png), and the paths of bad ones beside it."""
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

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from dermdistill.images.render import apply_views
from dermdistill.images.views import (
    COLUMNS,
    IDENTITY,
    PLAIN,
    ViewSpec,
    sample_views,
    turn_views,
    view_seed,
)

SHAS = [hashlib.sha256(bytes([index])).hexdigest() for index in range(64)]
STILL = {
    "flip": False, "rotation": 0, "zoom": (1, 1), "aspect": 1, "shift": 0,
    "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "white_balance": 0,
}  # fmt: skip


def _images(count=4, size=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def _parameters(**changed):
    row = dict(zip(COLUMNS, IDENTITY, strict=True)) | changed
    return torch.tensor([[row[name] for name in COLUMNS]], dtype=torch.float32)


def test_view_zero_is_the_plain_image():
    images = _images()
    parameters = torch.from_numpy(sample_views(SHAS[:4], view_seed(3, 0), ViewSpec()))
    assert torch.equal(apply_views(images, parameters), images.float() / 255)


def test_a_view_depends_on_image_seed_and_spec_alone():
    spec = ViewSpec()
    together = sample_views(SHAS, view_seed(1, 2), spec)
    alone = np.concatenate([sample_views([sha], view_seed(1, 2), spec) for sha in reversed(SHAS)])[::-1]
    np.testing.assert_array_equal(together, alone)
    assert not np.array_equal(together, sample_views(SHAS, view_seed(1, 3), spec))
    assert not np.array_equal(together, sample_views(SHAS, view_seed(2, 2), spec))
    assert not np.array_equal(together, sample_views(SHAS, view_seed(1, 2), ViewSpec(rotation=90)))


def test_another_process_samples_the_same_view():
    code = (
        "from dermdistill.images.views import *\n"
        f"print(sample_views(['{SHAS[0]}'], view_seed(5, 7), ViewSpec()).tobytes().hex())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == sample_views(SHAS[:1], view_seed(5, 7), ViewSpec()).tobytes().hex()


def test_sampled_parameters_fill_their_ranges():
    spec = ViewSpec()
    shas = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(2000)]
    columns = dict(zip(COLUMNS, sample_views(shas, view_seed(0, 1), spec).T, strict=True))
    assert 0.45 < columns["flip"].mean() < 0.55
    for name, low, high in [
        ("angle", -np.pi, np.pi), ("zoom", 0.8, 1.2), ("shift_x", -0.08, 0.08), ("brightness", 0.8, 1.2),
        ("hue", -0.02, 0.02), ("red", 0.92, 1.08),
    ]:  # fmt: skip
        margin = (high - low) * 0.01
        assert low <= columns[name].min() < low + margin, name
        assert high - margin < columns[name].max() <= high + 1e-6, name


def test_a_quarter_turn_and_a_mirror_are_exact():
    image = _images(1)
    expected = image.float() / 255
    turned = apply_views(image, _parameters(angle=np.pi / 2))
    candidates = [torch.rot90(expected, turns, (2, 3)) for turns in (1, 3)]
    assert min((turned - c).abs().max() for c in candidates) < 1e-4
    mirrored = apply_views(image, _parameters(flip=1.0))
    assert (mirrored - expected.flip(3)).abs().max() < 1e-4


def test_zoom_magnifies():
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, 24:40, 24:40] = 255
    area = apply_views(image, _parameters(zoom=2.0)).mean() / apply_views(image, _parameters(zoom=1.0)).mean()
    assert area == pytest.approx(4, rel=0.1)


def test_colour_maps():
    image = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    grey = 100 / 255
    assert apply_views(image, _parameters(brightness=1.2)).mean() == pytest.approx(grey * 1.2, abs=1e-4)
    assert apply_views(image, _parameters(contrast=1.5)).mean() == pytest.approx(grey, abs=1e-3)
    warm = apply_views(image, _parameters(red=1.1))
    assert warm[0, 0].mean() == pytest.approx(grey * 1.1, abs=1e-4)
    assert warm[0, 1].mean() == pytest.approx(grey, abs=1e-3)
    pale = apply_views(_images(1), _parameters(saturation=0.0))
    assert (pale[:, 0] - pale[:, 1]).abs().max() < 0.01


def test_the_same_view_at_two_sizes_shows_the_same_thing():
    smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 6, 6), (128, 128), mode="bicubic").clamp(0, 1)
    images = (smooth * 255).to(torch.uint8)
    parameters = torch.from_numpy(sample_views(SHAS[:2], view_seed(0, 4), ViewSpec()))
    large = apply_views(images, parameters, 128)
    small = apply_views(images, parameters, 64)
    shrunk = torch.nn.functional.interpolate(large, (64, 64), mode="bilinear", antialias=True)
    assert (shrunk - small).abs().mean() < 0.01


def test_a_spec_without_movement_changes_nothing():
    parameters = torch.from_numpy(sample_views(SHAS[:4], view_seed(0, 1), ViewSpec(**STILL)))
    assert (apply_views(_images(), parameters) - _images().float() / 255).abs().max() < 1e-4


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        apply_views(_images().float(), torch.zeros(4, len(COLUMNS)))
    with pytest.raises(ValueError, match="negative"):
        view_seed(0, -1)
    with pytest.raises(ValueError, match="extra"):
        ViewSpec(rotaton=3)
    assert view_seed(9, 0) == PLAIN


def test_a_turned_view_is_one_of_the_views_eight_symmetries():
    images, view = _images(1), sample_views(SHAS[:1], view_seed(0, 3), ViewSpec(aspect=1.3))
    plain = apply_views(images, torch.from_numpy(view))
    turned = [torch.rot90(plain, turns, (2, 3)) for turns in range(4)]
    symmetries = turned + [image.flip(3) for image in turned]
    reached = set()
    for epoch in range(60):
        found = apply_views(images, torch.from_numpy(turn_views(view, SHAS[:1], 0, epoch)))
        distances = [float((found - other).abs().max()) for other in symmetries]
        assert min(distances) < 1e-3
        reached.add(int(np.argmin(distances)))
    assert reached == set(range(8))


def test_views_are_turned_anew_in_each_epoch_and_the_same_again():
    views = sample_views(SHAS, view_seed(0, 1), ViewSpec())
    before = views.copy()
    first = turn_views(views, SHAS, 0, 0)
    np.testing.assert_array_equal(views, before)
    np.testing.assert_array_equal(first, turn_views(views, SHAS, 0, 0))
    alone = np.concatenate([turn_views(views[[row]], [SHAS[row]], 0, 0) for row in range(len(SHAS))])
    np.testing.assert_array_equal(first, alone)
    for other in (turn_views(views, SHAS, 0, 1), turn_views(views, SHAS, 1, 0)):
        assert (first != other).any(axis=1).mean() > 0.7  # of eight symmetries one is the same
    assert turn_views(views[:0], [], 0, 0).shape == (0, len(COLUMNS))

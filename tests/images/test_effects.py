"""Effects of views: off by default, replayed, the same at two sizes, and in the direction that they name."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from dermdistill.images.render import apply_views
from dermdistill.images.view_spec import EFFECTS, Effect, ViewSpec
from dermdistill.images.views import COLUMNS, IDENTITY_OF, sample_views, turn_views, view_seed

SHAS = [hashlib.sha256(bytes([index])).hexdigest() for index in range(250)]
STILL = {
    "flip": False, "rotation": 0, "zoom": (1, 1), "aspect": 1, "shift": 0,
    "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "white_balance": 0,
}  # fmt: skip
RANGES = {
    "hair": (5, 20), "ruler": (0.7, 1), "illumination": (0.3, 0.5), "vignette": (0.4, 0.8), "gamma": (1.3, 1.8),
    "sharpness": (0.5, 1.5), "noise": (0.05, 0.1), "resample": (40, 60), "jpeg": (5, 20),
}  # fmt: skip
"""Strong enough that the effect shows in every view."""


def _images(count=4, size=128, coarse=40):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(count, 3, coarse, coarse, generator=generator) * 0.6 + 0.2
    return (functional.interpolate(drawn, (size, size), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def _parameters(count, **changed):
    return torch.tensor([[(IDENTITY_OF | changed)[name] for name in COLUMNS]] * count, dtype=torch.float32)


def _sampled(name, count=4):
    spec = ViewSpec(**STILL, **{name: Effect(range=RANGES[name])})
    return torch.from_numpy(sample_views(SHAS[:count], view_seed(0, 1), spec))


def _detail(images):
    """Mean power of the differences of neighbouring pixels."""
    return float((images.diff(dim=3) ** 2).mean() + (images.diff(dim=2) ** 2).mean())


def test_effects_are_off_by_default_and_old_specs_read_as_before():
    assert set(EFFECTS) == set(RANGES)
    assert not set(ViewSpec().model_dump()) & set(EFFECTS)
    assert ViewSpec.model_validate(ViewSpec().model_dump(mode="json")) == ViewSpec()
    table = dict(zip(COLUMNS, sample_views(SHAS, view_seed(0, 1), ViewSpec()).T, strict=True))
    for name in COLUMNS[12:]:
        assert (table[name] == IDENTITY_OF[name]).all(), name


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_changes_the_drawn_share_of_the_views_and_nothing_else_of_them(name):
    spec = ViewSpec(**{name: Effect(range=RANGES[name], share=0.3)})
    assert ViewSpec.model_validate(spec.model_dump(mode="json")) == spec
    plain, found = (sample_views(SHAS, view_seed(0, 1), one) for one in (ViewSpec(), spec))
    column = COLUMNS.index(name)
    drawn = found[:, column] != IDENTITY_OF[name]
    assert 0.2 < drawn.mean() < 0.4
    low, high = np.float32(RANGES[name])
    assert low <= found[drawn, column].min() < found[drawn, column].max() <= high
    others = [COLUMNS.index(one) for one in COLUMNS if one not in (name, "light_angle", "kernel", "number")]
    np.testing.assert_array_equal(found[:, others], plain[:, others])
    np.testing.assert_array_equal(found[~drawn], plain[~drawn])


def test_switching_one_effect_on_leaves_the_others_as_they_were():
    effects = {name: Effect(range=RANGES[name], share=0.5) for name in EFFECTS}
    everything = sample_views(SHAS, view_seed(3, 1), ViewSpec(**effects))
    fewer = sample_views(SHAS, view_seed(3, 1), ViewSpec(**{**effects, "noise": None}))
    changed = (everything != fewer).any(0)
    assert {name for name, one in zip(COLUMNS, changed, strict=True) if one} == {"noise", "number"}
    hairy = fewer[:, COLUMNS.index("hair")] != 0
    number = COLUMNS.index("number")
    np.testing.assert_array_equal(everything[hairy, number], fewer[hairy, number])


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_replays_and_leaves_the_views_without_it_alone(name):
    images, parameters = _images(), _sampled(name)
    parameters[2] = _parameters(1)
    views = apply_views(images, parameters)
    assert torch.equal(views, apply_views(images, parameters))
    order = torch.tensor([3, 2, 0, 1])
    assert (views[order] - apply_views(images[order], parameters[order])).abs().max() < 1e-5
    plain = apply_views(images, _parameters(4))
    assert torch.equal(views[2], plain[2])
    for row in (0, 1, 3):
        assert (views[row] - plain[row]).abs().max() > 0.02
    assert views.min() >= 0
    assert views.max() <= 1


@pytest.mark.parametrize("name", EFFECTS)
def test_teacher_and_student_see_the_same_effect(name):
    """Shrunk to the same side, the change of the teacher's view is the change of the student's."""
    images, parameters = _images(8, 448), _sampled(name, 8)
    changes = []
    for size in (224, 112):
        change = apply_views(images, parameters, size) - apply_views(images, _parameters(8), size)
        changes.append(functional.interpolate(change, (56, 56), mode="bilinear", antialias=True))
    large, small = changes
    print(
        name,
        float((large - small).abs().mean()),
        float(large.abs().mean()),
        float(torch.corrcoef(torch.stack([large.flatten(), small.flatten()]))[0, 1]),
    )
    bound, least = (0.5, 0.85) if name == "jpeg" else (0.3, 0.95)  # JPEG coding rounds, and rounds elsewhere
    assert (large - small).abs().mean() < bound * large.abs().mean()
    assert torch.corrcoef(torch.stack([large.flatten(), small.flatten()]))[0, 1] > least


def test_every_effect_goes_in_the_direction_that_its_name_says():
    images = _images()
    plain = images.float() / 255

    def view(**changed):
        return apply_views(images, _parameters(4, **changed))

    assert _detail(view(sharpness=1.0)) > 1.5 * _detail(plain)
    assert _detail(view(sharpness=-1.0)) < 0.8 * _detail(plain)
    for kernel in range(3):
        assert _detail(view(resample=32.0, kernel=float(kernel))) < 0.5 * _detail(plain), kernel
    assert torch.equal(view(resample=128.0), plain)
    worse, better = (float((view(jpeg=quality) - plain).abs().mean()) for quality in (10.0, 90.0))
    assert worse > 3 * better > 0
    noise = view(noise=0.05, number=7.0) - plain
    assert 0.015 < float(noise.std()) < 0.05  # 0.05 at 256 pixels a side, averaged down to 128
    assert abs(float(noise.mean())) < 0.002
    assert not torch.equal(view(noise=0.05, number=8.0), view(noise=0.05, number=7.0))
    torch.testing.assert_close(view(gamma=1.5), plain**1.5)
    lit = view(illumination=0.2) / plain
    assert lit[..., 0].mean() == pytest.approx(0.8, abs=0.01)
    assert lit[..., -1].mean() == pytest.approx(1.2, abs=0.01)
    dark = view(vignette=0.6) / plain
    assert dark[..., 63:65, 63:65].mean() == pytest.approx(1, abs=0.01)
    assert dark[..., 0, 0].mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(("name", "few", "many"), [("hair", 2.0, 25.0), ("ruler", 0.3, 1.0)])
def test_overlays_darken_more_the_more_of_them_there_is(name, few, many):
    images = torch.full((3, 3, 96, 96), 200, dtype=torch.uint8)

    def view(number, amount):
        return apply_views(images, _parameters(3, number=number, **{name: amount}))

    less, more = (float((200 / 255 - view(5.0, amount)).mean()) for amount in (few, many))
    assert more > 1.5 * less > 0
    assert not torch.equal(view(5.0, many), view(6.0, many))


def test_a_view_is_turned_with_its_effects_and_exactly():
    images = _images(1)
    spec = ViewSpec(**{name: Effect(range=RANGES[name]) for name in EFFECTS})
    view = sample_views(SHAS[:1], view_seed(0, 3), spec)
    still = apply_views(images, torch.from_numpy(view))
    symmetries = [torch.rot90(one, turns, (2, 3)) for one in (still, still.flip(3)) for turns in range(4)]
    reached = set()
    for epoch in range(60):
        found = apply_views(images, torch.from_numpy(turn_views(view, SHAS[:1], 0, epoch)))
        equal = [torch.equal(found, one) for one in symmetries]
        assert sum(equal) == 1
        reached.add(equal.index(True))
    assert reached == set(range(8))


def test_impossible_effects_are_refused():
    for name, (lowest, highest) in EFFECTS.items():
        for wrong in ((highest, highest + 1), (lowest - 1, lowest), (highest, lowest)):
            with pytest.raises(ValidationError, match=f"range of {name} must rise within"):
                ViewSpec(**{name: {"range": wrong}})
    with pytest.raises(ValidationError, match="share"):
        ViewSpec(jpeg={"range": (10, 90), "share": 0})
    with pytest.raises(ValidationError, match="range"):
        ViewSpec(jpeg={"share": 0.5})


def test_specs_and_sampling_need_no_torch():
    code = "import sys, dermdistill.images.views, dermdistill.images.view_spec; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("size", [32, 48, 300])
def test_the_widest_ranges_give_images(size):
    spec = ViewSpec(**{name: Effect(range=EFFECTS[name], share=0.5) for name in EFFECTS})
    parameters = torch.from_numpy(sample_views(SHAS[:32], view_seed(0, 1), spec))
    views = apply_views(_images(32, 96), parameters, size)
    assert views.shape == (32, 3, size, size)
    assert views.isfinite().all()
    assert views.min() >= 0
    assert views.max() <= 1
    assert (views.std((1, 2, 3)) > 0.001).all()

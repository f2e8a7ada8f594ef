"""A view is as sharp as the plain image that `predict` sees: their power spectra agree."""

import numpy as np
import pytest
import torch
from PIL import Image

from dermdistill.data.importing.datasets import combine, import_dataset
from dermdistill.images.preprocess import SOURCE_SCALE, load_rgb, resize_source, resize_square
from dermdistill.images.render import apply_views
from dermdistill.images.views import COLUMNS, IDENTITY, ViewSpec, sample_views, view_seed

SIDE = 112
LIMIT = 0.5
"""Decibels between a view's and the plain image's spectrum."""


def _noise(size, exponent, count=6):
    """Coloured noise, amplitude falling as frequency to the power of -exponent."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(count * 3, size, size))) / frequency**exponent
    noise = np.fft.irfft2(spectrum, (size, size)).reshape(count, 3, size, size)
    noise = noise - noise.mean((2, 3), keepdims=True)
    noise = 128 + 28 * noise / noise.std((2, 3), keepdims=True)
    return [Image.fromarray(one) for one in noise.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)]


def _stack(images, resize, size):
    return torch.from_numpy(np.stack([resize(image, size).transpose(2, 0, 1) for image in images]))


def _views(images, **changed):
    """(plain images as predict makes them, rendered views), float [N, 3, S, S]."""
    row = dict(zip(COLUMNS, IDENTITY, strict=True)) | changed
    parameters = torch.tensor([[row[name] for name in COLUMNS]] * len(images), dtype=torch.float32)
    plain = _stack(images, resize_square, SIDE).float() / 255
    return plain, apply_views(_stack(images, resize_source, SOURCE_SCALE * SIDE), parameters, SIDE)


def _spectrum(images):
    """Radial power spectrum of the middle of square images, in ten bands up to the Nyquist frequency."""
    size = images.shape[-1]
    window = np.outer(np.hanning(size), np.hanning(size))
    grey = images.numpy().astype(np.float64).mean(1)
    grey = grey - grey.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.rfft2(grey * window)) ** 2).mean(0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * 2
    bands = np.minimum((frequency * 10).astype(int), 10)
    return np.array([power[bands == band].mean() for band in range(10)])


def _decibels(images, **changed):
    """By how much a view's spectrum exceeds the plain one, in bands from 10 % to 80 % of the Nyquist frequency."""
    plain, views = _views(images, **changed)
    return 10 * np.log10(_spectrum(views) / _spectrum(plain))[1:8]


@pytest.fixture(scope="module")
def real_images(real_data):
    """Forty images each of ham10000 and isic2017."""
    table = combine([import_dataset(real_data / name, name) for name in ("ham10000", "isic2017")]).manifest
    return [load_rgb(path) for _, part in table.groupby("source") for path in part["path"].iloc[:40]]


@pytest.mark.parametrize("exponent", [0.0, 1.0], ids=["white", "pink"])
@pytest.mark.parametrize("size", [448, 256, 224, 180])
@pytest.mark.parametrize("degrees", [10, 37, 45])
def test_a_turned_view_is_as_sharp_as_the_plain_image(size, exponent, degrees):
    found = _decibels(_noise(size, exponent), angle=np.radians(degrees), flip=1.0)
    assert np.abs(found).max() < LIMIT, found


@pytest.mark.parametrize("zoom", [0.8, 0.9, 1.1, 1.2])
def test_a_nearer_or_farther_view_is_as_sharp_as_the_plain_image(zoom):
    found = _decibels(_noise(448, 1.0), angle=0.5, zoom=zoom)  # pink noise looks the same at every scale
    assert np.abs(found).max() < LIMIT, found


@pytest.mark.real_data
def test_a_turned_view_of_a_real_image_is_as_sharp_as_the_plain_image(real_images):
    found = _decibels(real_images, angle=np.radians(37))
    assert np.abs(found).max() < LIMIT, found


def test_warping_an_image_that_was_shrunk_before_blurs_it():
    images = _noise(256, 1.0)
    plain = _stack(images, resize_square, SIDE)
    row = dict(zip(COLUMNS, IDENTITY, strict=True)) | {"angle": np.radians(37)}
    parameters = torch.tensor([list(row.values())] * len(images), dtype=torch.float32)
    lost = 10 * np.log10(_spectrum(apply_views(plain, parameters)) / _spectrum(plain.float() / 255))[7]
    assert lost < -2


@pytest.mark.parametrize("size", [448, 224, 180])
def test_the_plain_view_of_a_source_is_what_predict_sees(size):
    plain, views = _views(_noise(size, 1.0))
    assert (plain - views).abs().mean() < 1 / 255


@pytest.mark.real_data
def test_the_plain_view_of_a_real_source_is_what_predict_sees(real_images):
    plain, views = _views(real_images)
    assert (plain - views).abs().mean() < 1 / 255


def test_a_view_of_colours_alone_is_as_sharp_as_the_plain_image():
    plain, views = _views(_noise(224, 1.0), brightness=1.1)
    assert (views - (plain * 1.1).clamp(max=1)).abs().mean() < 1.5 / 255


def test_a_view_does_not_depend_on_the_batch_around_it():
    source = _stack(_noise(150, 1.0, 20), resize_source, 2 * SIDE)
    shas = [f"{row:064d}" for row in range(len(source))]
    parameters = torch.from_numpy(sample_views(shas, view_seed(0, 1), ViewSpec()))
    together = apply_views(source, parameters, SIDE)
    assert torch.equal(together, apply_views(source, parameters, SIDE))
    alone = torch.cat([apply_views(source[[row]], parameters[[row]], SIDE) for row in range(len(source))])
    assert (together - alone).abs().max() < 1e-4


@pytest.mark.parametrize("side", [SIDE, 160, 224, 400, 700])
def test_sources_of_any_size_show_the_same_view(side):
    """Sources smaller and larger than twice the view's side, and a view of the default size."""
    images = _noise(448, 1.5, 2)
    parameters = torch.from_numpy(sample_views(["a" * 64, "b" * 64], view_seed(0, 2), ViewSpec()))
    expected = apply_views(_stack(images, resize_source, 2 * SIDE), parameters, SIDE)
    found = apply_views(_stack(images, resize_source, side), parameters, SIDE)
    assert found.shape == (2, 3, SIDE, SIDE)
    assert (found - expected).abs().mean() < (0.02 if side == SIDE else 0.008)
    assert apply_views(_stack(images, resize_source, 64), parameters).shape == (2, 3, 64, 64)

"""The page asks the bundle's gate: a refusal stands where an answer would, and the answer beneath it for who asks."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import dermdistill
from dermdistill.predict.gate import REASONS
from dermdistill.serve.site import write_page

PATIENCE = 120_000
"""Milliseconds; a busy machine takes its time."""


@pytest.fixture(scope="module")
def opened(browser) -> Callable:
    """Opens an address in a profile of its own and waits until the page has loaded."""

    def open_page(address: str, **options):
        page = browser.new_context(**{"locale": "en-GB", **options}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector("html[data-phase=ready], html[data-phase=failed]")
        return page

    return open_page


@pytest.fixture(scope="module")
def ready(opened, site):
    page = opened(site)
    assert page.get_attribute("html", "data-phase") == "ready", page.inner_text("#problem")
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> list[Path]:
    """What is no dermoscopic image, noise and a printed page; then the page's own example, which is like one."""
    folder = tmp_path_factory.mktemp("others")
    noise = np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    printed = Image.new("RGB", (300, 400), "white")
    for line in range(20, 380, 18):
        ImageDraw.Draw(printed).text((20, line), "It is not a picture of skin at all.", "black")
    printed.save(folder / "printed.png")
    shutil.copy(Path(__file__).resolve().parents[2] / "web" / "example.jpg", folder)
    return [folder / name for name in ("noise.png", "printed.png", "example.jpg")]


def give(page, paths: list[Path]) -> None:
    """Give images together and wait for what the page says."""
    if page.locator("#clear").is_visible():
        page.click("#clear")
    page.set_input_files("#files", paths)
    page.locator("#list tbody tr").nth(len(paths) - 1).wait_for()
    page.locator("#list", has_not_text="waiting").wait_for()


def rows(page) -> list[dict[str, str]]:
    """The rows of the CSV file."""
    with page.expect_download() as download:
        page.click("#csv")
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))


def test_a_refused_image_gets_reasons_and_no_probability(ready, others):
    give(ready, others)
    expected = list(dermdistill.Predictor(threads=1).predict(others))
    assert [result.status for result in expected] == ["refused", "refused", "ok"]
    for place, result in enumerate(expected[:2]):
        reasons = [REASONS[name] for name in result.quality.split(",")]
        told = ready.locator("#list tbody tr").nth(place).inner_text()
        assert "refused" in told
        assert "; ".join(reasons) in told
        ready.locator("#list .pick").nth(place).click()
        assert ready.locator("#reasons li").all_text_contents() == reasons
        shown = ready.inner_text("#answer")
        assert "the model should not judge this image" in shown
        assert "%" not in told + shown
        assert ready.locator("#value, #decision, #map-button, .chip, .bars, .meaning").count() == 0
    ready.locator("#list .pick").nth(2).click()
    assert ready.inner_text("#value").endswith("%")
    assert ready.locator("#reasons, #anyway").count() == 0
    assert ready.locator(".chip").count() >= 1


def test_the_csv_has_the_refusal_as_predict_has_it(ready, others):
    give(ready, others)
    for row, result in zip(rows(ready), dermdistill.Predictor(threads=1).predict(others), strict=True):
        name, classes = row["file"], [value for key, value in row.items() if key.startswith("p_")]
        assert row["status"] == result.status
        if result.status == "refused":
            assert row["decision"] == ""
            assert set(classes) == {""}
            said = result.message.replace(result.file, name).removesuffix("; --gate judge answers nonetheless")
            assert row["message"] == said
        else:
            assert "" not in classes


def test_who_asks_sees_the_answer_beneath_the_refusal(ready, others):
    give(ready, others)
    assert ready.inner_text("#news").startswith("noise.png: refused: it does not look like a dermoscopic image")
    assert "probability" not in ready.inner_text("#news")
    ready.focus("#anyway")
    ready.keyboard.press("Enter")
    ready.wait_for_selector("#value")
    assert ready.evaluate("document.activeElement.id") == "anyway", "the keyboard stays where it was"
    refusal, answer = (ready.locator(name).bounding_box() for name in (".refusal", ".anyway"))
    assert refusal["y"] + refusal["height"] <= answer["y"]
    assert "although the image is refused" in ready.inner_text(".anyway")
    assert ready.locator(".anyway #value").count() == 1
    assert ready.locator(".meaning").count() == 0, "frequencies were not counted on refused images"
    assert "estimated probability of melanoma" in ready.inner_text("#news")
    told = ready.locator("#list tbody tr").first.inner_text()
    assert told.index("refused") < told.index(ready.inner_text("#value"))
    first, second, _ = rows(ready)
    (result,) = dermdistill.Predictor(threads=1, gate="judge").predict(others[0])
    assert first["status"] == result.status == "refused"
    assert first["decision"] == result.decision
    assert float(first["p_melanoma"]) == pytest.approx(result.p_melanoma, abs=1e-3)
    assert second["p_melanoma"] == "", "the other refused image was not asked for"
    ready.click("#map-button")
    ready.wait_for_selector("canvas.map")
    ready.click("#anyway")
    assert ready.locator("#value, canvas.map, #map-button, progress").count() == 0
    assert rows(ready)[0]["p_melanoma"] == ""


def test_a_bundle_without_a_gate_refuses_nothing(opened, gateless, served, others, tmp_path):
    with served(write_page(tmp_path / "page", gateless)) as address:
        page = opened(address)
        give(page, others)
        assert [row["status"] for row in rows(page)] == ["ok", "ok", "ok"]
        assert page.inner_text("#value").endswith("%")
        assert page.locator(".chip").count() >= 1
        assert page.locator("#reasons, #anyway, .refused").count() == 0
        assert "Any other picture gets an answer too" in page.inner_text("#about")
        page.context.close()


@pytest.mark.parametrize("change", ["bytes", "index"])
def test_no_image_is_judged_past_a_gate_that_was_changed_or_left_out(opened, published, served, tmp_path, change):
    shutil.copytree(published, tmp_path / "page")
    gate, index = tmp_path / "page" / "bundle" / "gate.onnx", tmp_path / "page" / "page.json"
    if change == "bytes":
        gate.write_bytes(gate.read_bytes()[:-1] + b"\x00")
    else:
        index.write_text(json.dumps({**json.loads(index.read_text()), "gate": None}))
    with served(tmp_path / "page") as address:
        page = opened(address)
        assert page.get_attribute("html", "data-phase") == "failed"
        assert "gate.onnx" in page.inner_text("#problem")
        page.context.close()

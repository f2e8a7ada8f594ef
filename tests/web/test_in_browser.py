"""The page in Chromium: the answers of Python, nothing sent, at work without a network, and usable by everybody."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dermdistill
from dermdistill.images.preprocess import resize_square
from dermdistill.predict.bundle import default_bundle, read_bundle
from dermdistill.predict.explain import colours, explain
from dermdistill.predict.vectors import draw
from dermdistill.serve.site import content_security_policy

PATIENCE = 120_000
"""Milliseconds; a busy machine takes its time."""
PHONE = {"width": 375, "height": 700}


def opened(browser, address: str, **options):
    """A new page that has loaded; `requests` are the addresses that it and its thread asked for since."""
    context = browser.new_context(**{"locale": "en-GB", **options})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("html[data-phase=ready], html[data-phase=failed]")
    return page


SHOW_REFUSED = """() => [...document.querySelectorAll("#list td.refused")].forEach((cell) => {
    document.getElementById(cell.closest("tr").querySelector(".pick").id).click();
    document.getElementById("anyway").click();
})"""


def answers(page, paths: list[Path]) -> dict[str, dict[str, str]]:
    """The rows of the page's CSV by file, for images that are given together; refused ones with their answers."""
    if page.locator("#clear").is_visible():
        page.click("#clear")
    page.set_input_files("#files", paths)
    page.locator("#list tbody tr").nth(len(paths) - 1).wait_for()
    page.locator("#list", has_not_text="waiting").wait_for()
    page.evaluate(SHOW_REFUSED)
    with page.expect_download() as download:
        page.click("#csv")
    return {row["file"]: row for row in csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8")))}


@pytest.fixture(scope="module")
def ready(browser, site):
    page = opened(browser, site)
    assert page.get_attribute("html", "data-phase") == "ready", page.inner_text("#problem")
    page.wait_for_selector("#offline:not([hidden])")
    yield page
    page.context.close()


def test_answers_are_those_of_python(ready, images, assert_same):
    assert_same(answers(ready, images), images)


def test_people_read_names_of_sources_instead_of_those_of_folders(ready):
    shown = ready.inner_text("#about")
    assert "HAM10000 (whole frames)" in shown
    assert "ham10000-" not in shown.partition("Model card")[0]


@pytest.mark.real_data
def test_answers_on_real_images_are_those_of_python(ready, real_images, assert_same):
    assert_same(answers(ready, real_images), real_images)


def test_maps_are_those_of_python(browser, site, tmp_path):
    """On the bundle's test vectors: opacity is the size of an effect, the colour its sign."""
    predictor = dermdistill.Predictor(threads=1)
    vectors = [one for one in predictor.bundle.spec.vectors.images if min(one.image.width, one.image.height) >= 16][:3]
    assert len(vectors) == 3
    for vector in vectors:
        Image.fromarray(draw(vector.image)).save(tmp_path / f"{vector.name}.png")
    page = opened(browser, site)
    answers(page, [tmp_path / f"{vector.name}.png" for vector in vectors])
    clear = 0
    for number, vector in enumerate(vectors, 1):
        page.click(f"#pick-{number}")
        page.click("#map-button")
        page.wait_for_selector("canvas.map")
        read = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
        found = np.array(page.eval_on_selector("canvas.map", read)).reshape(8, 8, 4)
        pixels = resize_square(Image.fromarray(draw(vector.image)), predictor.bundle.spec.input.size)
        expected = colours(explain(predictor, pixels).effects).astype(int)
        assert np.abs(found[..., 3] - expected[..., 3]).max() <= 3, vector.name
        strong = expected[..., 3] >= 15
        clear += int(strong.sum())
        assert ((found[..., 0] > found[..., 2]) == (expected[..., 0] > expected[..., 2]))[strong].all(), vector.name
    assert clear, "no part of any vector has a clear effect, so that no colour was compared"
    page.context.close()


def test_nothing_is_asked_for_after_the_page_has_loaded(ready, images):
    asked: list[str] = []
    ready.context.on("request", lambda request: asked.append(request.url))
    answers(ready, images[:2])
    ready.click("#map-button")
    ready.wait_for_selector(".map")
    ready.click("#map-button")
    assert [address for address in asked if not address.startswith("blob:")] == []


def test_the_browser_refuses_whatever_the_page_or_its_thread_would_send(ready):
    address = ready.url
    send = f"fetch('{address}page.json', {{method: 'POST', body: 'x'}}).then(() => 'sent', () => 'refused')"
    assert ready.evaluate(send) == "refused"
    assert ready.evaluate("navigator.sendBeacon('https://example.org/', 'x') && 'queued'") is not None
    (thread,) = ready.workers
    assert thread.evaluate(send) == "refused"
    picture = f"new Promise(done => {{ const image = new Image(); image.onload = () => done('sent'); " \
              f"image.onerror = () => done('refused'); image.src = '{address}icon.svg?x'; }})"  # fmt: skip
    assert ready.evaluate(picture) == "refused"
    assert ready.get_attribute("#privacy", "data-state") == "closed"


def test_several_images_and_one_that_is_none(ready, images, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(images[0].read_bytes()[:4000])
    (tmp_path / "=1+1.jpg").write_bytes(images[0].read_bytes())
    rows = answers(ready, [images[0], images[1], tmp_path / "notes.txt", cut, tmp_path / "=1+1.jpg"])
    assert list(next(iter(rows.values())))[:5] == ["file", "status", "p_melanoma", "decision", "message"]
    assert [row["status"] for row in rows.values()] == ["ok", "ok", "not_an_image", "truncated", "ok"]
    assert rows["notes.txt"]["p_melanoma"] == ""
    assert rows["cut.jpg"]["message"]
    assert "'=1+1.jpg" in rows, "a spreadsheet would run a name that begins with ="
    ready.locator("#list .pick").nth(1).click()
    assert ready.inner_text("figcaption .name") == images[1].name
    ready.locator("#list .remove").nth(0).click()
    assert ready.locator("#list tbody tr").count() == 4


def test_images_that_are_dropped_or_pasted_get_the_answers_of_chosen_ones(ready, images):
    paths = images[:2]  # the table shows from two images on
    expected = answers(ready, paths)
    for event, kind, carries in (("drop", "DragEvent", "dataTransfer"), ("paste", "ClipboardEvent", "clipboardData")):
        ready.click("#clear")
        ready.evaluate(
            """([event, kind, carries, files]) => {
                const carried = new DataTransfer();
                for (const [name, content] of files) {
                    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                    carried.items.add(new File([bytes], name));
                }
                document.body.dispatchEvent(
                    new globalThis[kind](event, {[carries]: carried, bubbles: true, cancelable: true}));
            }""",
            [event, kind, carries, [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in paths]],
        )
        ready.locator("td.number").nth(1).wait_for()
        ready.locator("#list", has_not_text="waiting").wait_for()
        with ready.expect_download() as download:
            ready.click("#csv")
        rows = csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8")))
        assert {row["file"]: row for row in rows} == expected, event


def test_a_camera_of_the_computer_takes_a_picture(browser, site):
    """Chromium's camera for tests, which shows a moving pattern."""
    page = opened(browser, site)
    page.click("#camera")
    page.locator("#video").evaluate(
        "video => new Promise((done) => video.videoWidth ? done() : (video.onplaying = done))"
    )
    width, height = page.evaluate("[video.videoWidth, video.videoHeight]")
    page.click("#shoot")
    page.click("#anyway")  # the pattern is no skin
    page.wait_for_selector("#value")
    assert re.search(r"\d", page.inner_text("#value"))
    assert not page.locator("#viewfinder").is_visible()
    assert page.evaluate("video.srcObject.getTracks().every((track) => track.readyState === 'ended')")
    assert min(width, height) > 112, "the camera's own pixels are taken"
    page.context.close()


def test_the_slider_shows_the_rates_of_the_figures(ready, images, published):
    answers(ready, images[:2])
    (path,) = (published / "page-data").iterdir()
    data = json.loads(path.read_text())
    slider = ready.locator("#slider")
    assert int(slider.get_attribute("max")) == len(data["curve"]) - 1
    for place in (10, len(data["curve"]) // 2, len(data["curve"]) - 5):
        value, found, alarms = data["curve"][place]
        slider.fill(str(place))
        assert ready.inner_text("#sensitivity") == f"{round(100 * found / data['positives'])}%"
        shown = int(ready.inner_text("#specificity").rstrip("%"))
        assert shown == pytest.approx(100 * (1 - alarms / (data["n"] - data["positives"])), abs=0.51)
        p = float(next(iter(answers(ready, images[:2]).values()))["p_melanoma"])
        assert ("above" in ready.get_attribute("#decision", "class")) == (p >= value)
    ready.click("#preset-sensitivity_95")


def test_a_value_is_told_as_a_frequency_that_was_counted(ready, images, published):
    row = answers(ready, images[:2])[images[0].name]
    (path,) = (published / "page-data").iterdir()
    p = float(row["p_melanoma"])
    (part,) = [one for one in json.loads(path.read_text())["bins"] if one["low"] <= p < one["high"]]
    said = ready.inner_text(".meaning")
    share = round(100 * part["positives"] / part["n"])
    assert (f"about {share} showed" if share else "fewer than 1") in said
    assert f"{part['positives']} of {part['n']} images" in said
    assert "HAM10000" in said


def choose_by_key(page, paths):
    """Press Enter on the button; on a busy machine the browser may not hear it before its window has the focus."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    for patience in (2_000, 4_000, 8_000, 16_000, 60_000):
        page.bring_to_front()
        try:
            with page.expect_file_chooser(timeout=patience) as chooser:
                page.keyboard.press("Enter")
        except PlaywrightTimeout:
            if patience == 60_000:
                raise
        else:
            chooser.value.set_files(paths)
            return


def test_every_step_by_keyboard_alone(browser, site, images):
    page = opened(browser, site)
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        if reached[-1] == "choose":
            break
    assert reached[-1] == "choose", reached
    choose_by_key(page, images[:2])
    page.locator("#list .pick").nth(1).wait_for()
    page.locator("#list", has_not_text="waiting").wait_for()
    assert page.evaluate("document.activeElement.id") == "choose", "the keyboard stays where it was"
    assert "estimated probability of melanoma" in page.inner_text("#news")
    steps = {"map-button": "Enter", "pick-2": "Enter", "slider": "ArrowRight", "preset-youden": "Space"}
    before = page.input_value("#slider")
    for wanted, key in steps.items():
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == wanted:
                break
        assert page.evaluate("document.activeElement.id") == wanted
        page.keyboard.press(key)
        if wanted == "slider":
            assert int(page.input_value("#slider")) == int(before) + 1
    assert page.inner_text("figcaption .name") == images[1].name
    assert page.get_attribute("#preset-youden", "aria-pressed") == "true"
    page.context.close()


@pytest.mark.parametrize(
    ("viewport", "scheme", "locale"),
    [({"width": 1280, "height": 900}, "light", "en-GB"), (PHONE, "dark", "de-DE")],
    ids=["desk, light, English", "phone, dark, German"],
)
def test_no_barrier_and_no_sideways_scrolling(browser, site, images, viewport, scheme, locale):
    """Of axe-core's rules none is broken seriously, before and after an answer, and where the gate refuses."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(browser, site, viewport=viewport, color_scheme=scheme, locale=locale)
    assert page.get_attribute("html", "lang") == locale[:2]
    (refused,) = [path for path in images if path.name == "grey.jpg"]
    for step in ("empty", "answered", "refused"):
        if step == "answered":
            page.set_input_files("#files", [*images[:3], refused])
            page.locator("td.refused").wait_for()
            page.click("#map-button")
            page.wait_for_selector(".map")
            page.click("#card summary")
        elif step == "refused":
            page.click("#pick-4")
            page.click("#anyway")
            page.wait_for_selector(".anyway")
            assert page.evaluate("document.querySelector('#remove-4').getBoundingClientRect().right <= innerWidth")
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), step
    page.evaluate("document.querySelector('main').prepend(document.createElement('button'))")
    assert "button-name" in {one["id"] for one in axe.Axe().run(page).response["violations"]}, "the rules find nothing"
    page.context.close()


def test_a_second_visit_needs_no_server(browser, published, served, images):
    with served(published) as address:
        page = opened(browser, address, locale="de-DE")
        page.wait_for_selector("#offline:not([hidden])")
    page.reload()
    page.wait_for_selector("html[data-phase=ready], html[data-phase=failed]")
    assert page.get_attribute("html", "data-phase") == "ready", page.inner_text("#problem")
    page.set_input_files("#files", images[0])
    assert page.inner_text("#value").endswith("%")
    page.set_input_files("#files", next(path for path in images if path.name == "grey.jpg"))
    page.wait_for_selector("#anyway")
    assert "Abgelehnt" in page.inner_text("#answer-title")
    assert "es sieht nicht wie ein dermatoskopisches Bild aus" in page.locator("#reasons").text_content()
    assert "Eine Prüfung davor" in page.inner_text("#about")
    page.context.close()


def test_the_service_serves_the_page_under_the_same_policy(browser, images):
    pytest.importorskip("fastapi", reason="needs the extra 'serve'")
    command = [sys.executable, "-m", "dermdistill", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as service:
        try:
            address = next(found[1] for line in service.stderr if (found := re.search(r"on (http://\S+)", line)))
            page = opened(browser, address + "/")
            assert page.get_attribute("html", "data-phase") == "ready", page.inner_text("#problem")
            page.set_input_files("#files", images[0])
            assert page.inner_text("#value").endswith("%")
            sent = page.goto(address + "/").headers["content-security-policy"]
            assert sent == content_security_policy()
            page.context.close()
        finally:
            service.terminate()


def test_figures_of_another_model_are_not_shown(browser, published, served, images, tmp_path):
    shutil.copytree(published, tmp_path / "page")
    (path,) = (tmp_path / "page" / "page-data").iterdir()
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "weights_sha256": "0" * 64}))
    with served(tmp_path / "page") as address:
        page = opened(browser, address)
        page.set_input_files("#files", images[0])
        assert page.inner_text("#value").endswith("%")
        assert "belong to another model" in page.inner_text("#threshold")
        assert "without figures" in page.inner_text(".meaning")
        assert int(page.get_attribute("#slider", "max")) == len(read_bundle(default_bundle()).spec.thresholds) - 1
        page.context.close()


def test_quality_is_measured_as_the_limits_were(browser, published, served, images, tmp_path):
    """Limits a ten-thousandth above and below what Python measures decide as they should."""
    pytest.importorskip("sklearn", reason="the figures are made with the extra 'eval'")
    from dermdistill.publish.page_data import SIDE, measure

    brightness, _, sharpness = measure(resize_square(Image.open(images[0]).convert("RGB"), SIDE))
    shutil.copytree(published, tmp_path / "page")
    (path,) = (tmp_path / "page" / "page-data").iterdir()
    data = json.loads(path.read_text())
    data["quality"] = {
        "images": 1, "blurred_below": sharpness * 1.0001, "dark_below": brightness * 0.9999,
        "bright_above": brightness * 0.9999, "glare_above": 1,
    }  # fmt: skip
    path.write_text(json.dumps(data))
    with served(tmp_path / "page") as address:
        page = opened(browser, address)
        page.set_input_files("#files", images[0])
        page.wait_for_selector("#value")
        assert page.locator(".chip").all_inner_texts() == ["Blurred", "Too bright"]
        page.context.close()


def with_vectors(folder: Path) -> dict:
    """Make a published page's bundle one of format 2, with test vectors that Python answers; its header."""
    from dermdistill.predict.header import Pattern
    from dermdistill.predict.vectors import encode_samples, sha256_pixels

    path = folder / "bundle" / "bundle.json"
    header = json.loads(path.read_text())
    size, vectors = header["input"]["size"], []
    predictor = dermdistill.Predictor(threads=1)
    for width, height in ((1, 1), (31, 24), (size, size), (600, 450), (29, 700)):
        pattern = Pattern(width=width, height=height, base=(150, 100, 80), xx=3, xy=5, yy=2)
        pixels = resize_square(Image.fromarray(draw(pattern)), size)
        probabilities = predictor.probabilities(pixels[None])[0].tolist()
        vectors.append({
            "name": f"{width}x{height}", "image": pattern.model_dump(), "image_sha256": sha256_pixels(draw(pattern)),
            "resized_sha256": sha256_pixels(pixels), "resized_samples": encode_samples(pixels),
            "logits": [0.0] * len(header["classes"]), "probabilities": probabilities,
        })  # fmt: skip
    header |= {"format": "dermdistill-bundle/2"}
    header["vectors"] = {"pixel_tolerance": 1, "probability_tolerance": 1e-3, "images": vectors}
    path.write_text(json.dumps(header))
    return header


@pytest.mark.parametrize("wrong", [None, "pixels", "probabilities"])
def test_the_page_proves_itself_before_it_answers(browser, published, served, tmp_path, wrong):
    shutil.copytree(published, tmp_path / "page")
    header = with_vectors(tmp_path / "page")
    vector = header["vectors"]["images"][-2]
    if wrong == "pixels":
        vector["resized_sha256"] = "0" * 64
    elif wrong == "probabilities":
        vector["probabilities"][header["melanoma_index"]] += 0.01
    (tmp_path / "page" / "bundle" / "bundle.json").write_text(json.dumps(header))
    with served(tmp_path / "page") as address:
        page = opened(browser, address)
        assert page.get_attribute("html", "data-phase") == ("failed" if wrong else "ready"), page.inner_text("#problem")
        assert ("600x450" in page.inner_text("#problem")) == bool(wrong)
        page.context.close()


def test_a_changed_graph_is_refused(browser, published, served, tmp_path):
    shutil.copytree(published, tmp_path / "page")
    graph = tmp_path / "page" / "bundle" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00")
    with served(tmp_path / "page") as address:
        page = opened(browser, address)
        assert page.get_attribute("html", "data-phase") == "failed"
        assert "model.onnx" in page.inner_text("#problem")
        page.context.close()

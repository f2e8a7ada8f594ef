"""The evidence report in Chromium: one file that asks for nothing, on a screen, on a phone and on paper."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dermdistill.evaluate.comparison import gather
from dermdistill.evaluate.ledger import DeclaredTest
from dermdistill.evaluate.report import Circumstances, FromImages, measure, write_report
from dermdistill.evaluate.spec import EvaluateSpec
from dermdistill.evaluate.tables import Columns, read_predictions

PHONE = {"width": 375, "height": 700}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The page of two models on a table with sources, sexes and ages."""
    folder = tmp_path_factory.mktemp("report")
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 300)
    noise = generator.normal(size=(2, 300))
    pd.DataFrame({
        "id": [f"image{number}" for number in range(300)], "label": truth,
        "good": 1 / (1 + np.exp(-(2 * truth - 1 + noise[0]))), "poor": 1 / (1 + np.exp(-(0.5 * truth + noise[1]))),
        "source": generator.choice(["one", "two"], 300), "sex": generator.choice(["male", "female"], 300),
        "age": generator.integers(20, 90, 300),
    }).to_csv(folder / "table.csv", index=False)  # fmt: skip
    manifest, models = read_predictions(folder / "table.csv", Columns(probabilities=("good", "poor")))
    comparison = gather(manifest, models, EvaluateSpec(replicates=100))
    found = measure(
        comparison, FromImages(), Circumstances(DeclaredTest(folder / "ledger.jsonl", "a test"), cross_fit=True)
    )
    write_report(found, comparison, FromImages(), folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture
def opened(browser, report):
    """The page, and every address that it asked for."""
    page = browser.new_page()
    asked: list[str] = []
    failures: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())
    yield page, asked
    assert failures == []
    page.close()


def test_it_asks_for_nothing_but_itself(opened, report):
    page, asked = opened
    assert asked == [report.as_uri()]
    assert page.locator("figure svg").count() >= 6


def test_every_figure_is_seen_and_says_what_it_means(opened):
    page, _ = opened
    for figure in page.locator("figure").all():
        size = figure.locator("svg").bounding_box()
        assert size["width"] > 200
        assert size["height"] > 100
        assert figure.locator("p.meaning").inner_text().endswith(".")
    links = page.locator("nav a")
    anchors = [link.get_attribute("href") for link in links.all()]
    assert {"#decision", "#subgroups", "#overlap", "#opened"} <= set(anchors)
    assert all(page.locator(f"h2{anchor}").count() == 1 for anchor in anchors)


def test_it_fits_a_phone(opened):
    page, _ = opened
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_on_paper_no_figure_is_cut(opened, tmp_path):
    page, _ = opened
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    for figure in page.locator("figure").all():
        assert figure.evaluate("element => getComputedStyle(element).breakInside") == "avoid"
        box = figure.bounding_box()
        assert figure.locator("svg").bounding_box()["width"] <= box["width"] + 1
    content = page.pdf(format="A4", print_background=True)
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) <= 14

"""What drawings are made of, against independent computations; and that each says what it means."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from dermdistill.evaluate.metrics import Scored
from dermdistill.evaluate.render import charts, plots
from dermdistill.evaluate.report import evaluate


@pytest.fixture
def scored() -> Scored:
    generator = np.random.default_rng(0)
    p = generator.random(400)
    return Scored(p, (generator.random(400) < p).astype(float), None, None)


def test_reliability_is_that_of_scikit_learn(scored: Scored):
    mean, share = plots.reliability_points(scored, bins=8)
    shares, means = calibration_curve(scored.y, scored.p, n_bins=8, strategy="quantile")
    assert mean == pytest.approx(means, abs=1e-9)
    assert share == pytest.approx(shares, abs=1e-9)


def test_every_drawing_says_what_it_means(scored: Scored):
    threshold = np.full(400, 0.5)
    made = plots.drawings({"a": scored}, {"a": threshold})
    titles = ["ROC curves", "Precision and recall", "Reliability", "At the operating point: a"]
    assert [one.title for one in made] == titles
    for drawing in made:
        assert drawing.svg.startswith("<svg")
        assert drawing.meaning.endswith(".")
    y, positive = scored.y.astype(bool), scored.p >= 0.5
    missed, needless = int((y & ~positive).sum()), int((~y & positive).sum())
    assert f"{missed} are missed" in made[3].meaning
    assert f"{needless} are flagged without need" in made[3].meaning


def test_nothing_cheaper_beats_a_point_of_the_front():
    points = {"a": (1.0, 0.8), "b": (2.0, 0.7), "c": (2.0, 0.9), "d": (4.0, 0.9), "e": (5.0, 0.95)}
    front = charts.best_so_far(points)
    beaten = {
        name for name, (cost, value) in points.items()
        if any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points.values())
    }  # fmt: skip
    assert front == [points[name] for name in points if name not in beaten]


def test_the_forest_has_each_subgroup_with_a_figure(manifest: pd.DataFrame, make_model, tmp_path):
    report = evaluate(manifest, {"a": make_model(3.0), "b": make_model(1.0)}, tmp_path, replicates=100)
    drawing = charts.forest(report.models)
    groups = report.models["a"].subgroups
    for name, of in groups.items():
        assert (f"{name} ({of.n:,}; {of.positives})" in drawing.svg) == (of.value is not None)
    page = (tmp_path / "report.html").read_text()
    for title in ("Decision curve", "Subgroups", "Precision and recall", "At the operating point: a"):
        assert f"<figcaption>{title}<span>" in page
    assert page.count('<p class="meaning">') >= page.count("<figcaption>") > 5


def test_a_cost_is_drawn_where_two_models_have_one(make_model, measured):
    report = measured({"a": make_model(3.0), "b": make_model(1.0)})
    assert [one.title for one in charts.pareto(report.models)] == [
        "AUROC against parameters", "AUROC against million multiply-accumulates",
    ]  # fmt: skip
    timed = {name: model.model_copy(update={"milliseconds": 2.5}) for name, model in report.models.items()}
    places = zip((900_000, 30_000_000), timed.items(), strict=True)
    apart = {name: model.model_copy(update={"parameters": count}) for count, (name, model) in places}
    drawn = charts.pareto(apart)
    assert drawn[-1].title == "AUROC against milliseconds an image"
    assert ">1 M</text>" in drawn[0].svg
    assert not any("mathdefault" in one.svg for one in drawn)
    assert [charts.in_short(value) for value in (0.1, 10, 1e5, 1e6, 2e9)] == ["0.1", "10", "100 k", "1 M", "2 G"]
    assert charts.pareto({"a": report.models["a"]}) == []

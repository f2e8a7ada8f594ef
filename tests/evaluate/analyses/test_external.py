"""External tests in a report: those of the model's own graph, as they are in the file, and no others."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from dermdistill.evaluate.analyses.external import external_tests, read_external
from dermdistill.evaluate.report import Circumstances, evaluate

FILE = Path(__file__).parents[3] / "results" / "external" / "external.json"


def of_graph(model, graph: str):
    return replace(model, provenance=model.provenance.model_copy(update={"graph_sha256": graph}))


def test_a_known_graph_has_its_tests_and_another_has_none(manifest: pd.DataFrame, make_model, tmp_path: Path):
    known = read_external(FILE)
    graph = known.bundles[0].model_onnx_sha256
    models = {
        "own": of_graph(make_model(), graph),
        "changed": of_graph(make_model(1.0), "0" * 64),
        "bare": make_model(),
    }
    report = evaluate(manifest, models, tmp_path, replicates=100, circumstances=Circumstances(external=known))
    assert report.external.models["own"].scored == known.bundles[0]
    assert report.external.models["changed"].scored is None
    assert set(report.external.models) == {"own", "changed"}
    page = (tmp_path / "report.html").read_text()
    section = page[page.index('<h2 id="external">') :].partition("</section>")[0]
    assert f"changed, graph <code>{'0' * 16}</code>: not yet scored." in section
    for test in known.bundles[0].tests:
        assert section.count(f'<th scope="row">{test.name}</th>') == 1
        assert f"<td>{test.auroc:.3f}<small>[{test.low:.3f}, {test.high:.3f}]</small></td>" in section


def test_without_a_graph_nothing_is_said():
    assert external_tests({}, read_external(FILE)) is None
    assert external_tests({"m": "0" * 64}, None) is None

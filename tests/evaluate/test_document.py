"""report.json is read as it was written, by this and by earlier versions."""

import json
from pathlib import Path

import pytest

from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate.document import load_report

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = [
    path for path in sorted(ROOT.glob("results/*/report.json")) if '"dermdistill-report/' in path.read_text()[:200]
]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_published_reports_are_read_without_loss(path: Path):
    stored, read = json.loads(path.read_text()), load_report(path).model_dump(mode="json")
    for name, entry in stored.pop("models").items():
        assert entry.items() <= read["models"][name].items()
    assert stored.items() <= read.items()


def test_there_are_published_reports():
    assert PUBLISHED


def test_what_does_not_fit_is_named(tmp_path: Path):
    path = tmp_path / "report.json"
    content = json.loads(PUBLISHED[0].read_text())
    content["data"]["n"] = "many"
    content["verdict"] = "good"
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"(?s)data\.n: .*, got 'many'.*verdict: unknown key"):
        load_report(path)
    path.write_text("[]")
    with pytest.raises(IntegrityError, match="is not a dermdistill-report/1 file"):
        load_report(path)
    with pytest.raises(InputError, match="no such file"):
        load_report(tmp_path / "none.json")

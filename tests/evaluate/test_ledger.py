"""The ledger of a test: each opening is a line, whoever writes at the same time."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dermdistill.errors import InputError, IntegrityError, OutputError
from dermdistill.evaluate.ledger import DeclaredTest, ledger_of, read_ledger, record, who
from dermdistill.evaluate.report import Circumstances, evaluate
from dermdistill.evaluate.thresholds import NOTHING, Chosen

WRITER = """
import sys
from pathlib import Path
from dermdistill.evaluate.ledger import DeclaredTest, record
for number in range(25):
    record(DeclaredTest(Path(sys.argv[1]), "x" * 3000), "d" * 64, {"m": f"{sys.argv[2]}-{number}"})
"""


def test_every_opening_is_counted(manifest: pd.DataFrame, make_model, measured, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DERMDISTILL_USER", "Ada")
    test = DeclaredTest(tmp_path / "splits.ledger.jsonl", "dermdistill evaluate m.csv")
    models = {"a": make_model(1.0), "b": make_model(2.0)}
    measured(models, test=test)
    measured({"a": models["a"]}, test=test)
    report = evaluate(manifest, models, tmp_path / "out", replicates=100, circumstances=Circumstances(test))
    assert report.opened.times == 3
    assert report.opened.models == {"a": 3, "b": 2}
    assert [visit.who for visit in report.opened.last] == ["Ada"] * 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert "were opened as a test 3 times, this one included" in page
    assert '<td class="left">Ada</td>' in page
    lines = [json.loads(line) for line in (tmp_path / "splits.ledger.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert {line["data_sha256"] for line in lines} == {report.opened.data_sha256}
    # other images are another test, in the same file
    tested = set(models["a"].ids("test")[:-20])
    fewer = {
        name: replace(one, table=one.table[one.table["image_id"].isin(tested) | (one.table["role"] == "validation")])
        for name, one in models.items()
    }
    assert measured(fewer, test=test).opened.times == 1
    assert len(read_ledger(tmp_path / "splits.ledger.jsonl")) == 4


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path):
    path = tmp_path / "test.ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "abcd"]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    found = [one.models["m"] for one in read_ledger(path)]
    assert sorted(found) == sorted(f"{name}-{number}" for name in "abcd" for number in range(25))


def test_a_test_is_not_opened_without_its_line(manifest: pd.DataFrame, make_model, tmp_path: Path):
    (tmp_path / "file").write_text("")
    test = DeclaredTest(tmp_path / "file" / "ledger.jsonl", "")
    with pytest.raises(OutputError):
        evaluate(manifest, {"m": make_model()}, tmp_path / "out", replicates=100, circumstances=Circumstances(test))
    assert not (tmp_path / "out").exists()


def test_a_test_does_not_choose_its_own_thresholds(manifest: pd.DataFrame, make_model, measured, tmp_path: Path):
    test = DeclaredTest(tmp_path / "ledger.jsonl", "")
    model = make_model()
    bare = replace(model, table=model.table[model.table["role"] == "test"])
    with pytest.raises(InputError, match=r"declared a test, and they alone .* of bare\. .*--cross-fit"):
        measured({"bare": bare}, test=test)
    assert not test.ledger.exists()
    assert measured({"bare": bare}, test=test, cross_fit=True).chosen_on == "cross-fitted"
    # neither a test that nobody declared, nor a cross-validation, nor a bundle with its own thresholds
    assert measured({"bare": bare}).chosen_on == "cross-fitted"
    parts = replace(bare, table=bare.table.assign(part="fold-0"))
    assert measured({"parts": parts}, test=test).chosen_on == "cross-fitted"
    own = replace(bare, temperature=1.0, chosen=Chosen(1.0, NOTHING, {}))
    assert measured({"own": own}, test=test).chosen_on == "validation"


def test_a_damaged_ledger_is_refused_and_left_as_it_is(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    record(DeclaredTest(path, "first"), "d", {})
    damaged = path.read_text() + "no json\n"
    path.write_text(damaged)
    with pytest.raises(IntegrityError, match="line 2 of the test ledger"):
        record(DeclaredTest(path, "second"), "d", {})
    assert path.read_text() == damaged


def test_it_lies_beside_the_split(tmp_path: Path):
    manifest = tmp_path / "mine.parquet"
    assert ledger_of(manifest) == tmp_path / "mine.ledger.jsonl"
    (tmp_path / "splits.json").touch()
    assert ledger_of(manifest) == tmp_path / "splits.ledger.jsonl"
    (tmp_path / "mine.splits.json").touch()
    assert ledger_of(manifest) == tmp_path / "mine.splits.ledger.jsonl"


def test_who_opens_is_never_unnamed(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("DERMDISTILL_USER", " Ada ")
    assert who() == "Ada"
    monkeypatch.delenv("DERMDISTILL_USER")
    monkeypatch.setenv("PATH", "")  # without git
    assert who() == "unknown"


def test_no_ledger_no_line(make_model, measured):
    assert measured({"m": make_model()}, role="validation").opened is None

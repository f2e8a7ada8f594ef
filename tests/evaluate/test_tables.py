"""Tables of models that are not ours."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.evaluate.tables import Columns, read_predictions


@pytest.fixture
def table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    y = (generator.random(300) < 0.3).astype(int)
    return pd.DataFrame({
        "id": [f"x{row}" for row in range(300)], "label": y,
        "probability": (0.4 * y + 0.6 * generator.random(300)).round(4),
        "other": generator.random(300), "patient_id": np.arange(300) // 3,
        "sex": generator.choice(["female", "male"], 300),
    })  # fmt: skip


def write(table: pd.DataFrame, path: Path) -> Path:
    match path.suffix:
        case ".parquet":
            table.to_parquet(path)
        case ".tsv":
            table.to_csv(path, index=False, sep="\t")
        case _:
            table.to_csv(path, index=False)
    return path


def call(path: Path, *more: str):
    return CliRunner().invoke(app, ["evaluate", str(path), "--replicates", "200", *more])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_by_itself_is_judged(table: pd.DataFrame, tmp_path: Path, suffix: str):
    done = call(write(table, tmp_path / f"mine{suffix}"))
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "mine-report" / "report.json").read_text())
    entry = report["models"]["mine"]
    auroc = entry["metrics"]["auroc"]
    assert auroc["value"] == pytest.approx(roc_auc_score(table["label"], table["probability"]))
    assert auroc["low"] < auroc["value"] < auroc["high"]
    assert report["data"]["clusters"] == 100
    assert entry["subgroups"]["sex: female"]["n"] == (table["sex"] == "female").sum()
    assert f"{auroc['value']:.3f}" in done.output
    assert "7-class" not in done.output
    assert (tmp_path / "mine-report" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "separator", "encoding", "decimal"),
    [
        ("excel.csv", ";", "utf-8-sig", ","), ("excel.txt", "\t", "utf-16", "."), ("old.csv", ",", "latin-1", "."),
        ("mine.tsv", "\t", "utf-8", "."),
    ],
)  # fmt: skip
def test_tables_are_read_as_people_save_them(table, tmp_path, name, separator, encoding, decimal):
    table["site"] = "Rücken"
    path = tmp_path / name
    table.to_csv(path, index=False, sep=separator, encoding=encoding, decimal=decimal)
    manifest, models = read_predictions(path, Columns(probabilities=("probability",)))
    assert set(manifest["site"]) == {"Rücken"}
    logits = models[path.stem].table["logit_mel"]
    assert np.allclose(1 / (1 + np.exp(-logits)), table["probability"])


def test_blank_rows_and_workbooks_of_excel_are_read(table, tmp_path):
    blank = pd.concat([table, pd.DataFrame(index=range(3))], ignore_index=True)
    blank.to_csv(tmp_path / "blank.csv", index=False)
    blank.to_excel(tmp_path / "book.xlsx", index=False)
    for name in ("blank.csv", "book.xlsx"):
        manifest, _ = read_predictions(tmp_path / name, Columns(probabilities=("probability",)))
        assert manifest["melanoma"].tolist() == table["label"].tolist()


def test_probabilities_are_judged_as_they_are(table: pd.DataFrame, tmp_path: Path):
    done = call(write(table, tmp_path / "mine.csv"), "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    entry = json.loads((tmp_path / "out" / "report.json").read_text())["models"]["mine"]
    assert (entry["temperature"], entry["temperature_fitted_on"]) == (1, "nothing")
    expected = brier_score_loss(table["label"], table["probability"])
    assert entry["metrics"]["brier"]["value"] == pytest.approx(expected)


def test_several_columns_are_several_models(table: pd.DataFrame, tmp_path: Path):
    path = write(table, tmp_path / "mine.csv")
    done = call(path, "--probability-column", "probability", "--probability-column", "other")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "mine-report" / "report.json").read_text())
    gap = report["differences"]["other"]["auroc"]["value"]
    expected = [roc_auc_score(table["label"], table[name]) for name in ("other", "probability")]
    assert gap == pytest.approx(expected[0] - expected[1])


def test_certain_probabilities_and_no_group(tmp_path: Path):
    table = pd.DataFrame({"id": range(6), "label": [0, 1] * 3, "p": [0, 1, 0.0, 1.0, 1e-12, 0.5]})
    manifest, models = read_predictions(write(table, tmp_path / "m.csv"))
    found = models["m"].logits(manifest["image_id"])
    np.testing.assert_allclose(1 / (1 + np.exp(-found[:, 1])), table["p"], atol=1e-15)
    assert manifest["lesion_id"].isna().all()


@pytest.mark.parametrize(
    ("labels", "positive", "expected"),
    [
        (["malignant", "benign"], None, [1, 0]),
        (["mel", "nv"], None, [1, 0]),
        (["True", "False"], None, [1, 0]),
        (["1.0", "0.0"], None, [1, 0]),
        (["C43", "D22"], "c43", [1, 0]),
        (["bcc", "mel"], "bcc", [1, 0]),
    ],
)
def test_labels(tmp_path: Path, labels: list[str], positive: str | None, expected: list[int]):
    table = pd.DataFrame({"id": ["a", "b"], "label": labels, "p": [0.1, 0.2]})
    manifest, _ = read_predictions(write(table, tmp_path / "m.csv"), Columns(positive=positive))
    assert manifest["melanoma"].tolist() == expected


def test_roles_choose_thresholds_on_their_own_rows(table: pd.DataFrame, tmp_path: Path):
    table["role"] = np.where(np.arange(300) % 2 == 0, "validation", "test")
    assert call(write(table, tmp_path / "m.csv")).exit_code == 0
    report = json.loads((tmp_path / "m-report" / "report.json").read_text())
    assert (report["chosen_on"], report["data"]["n"]) == ("validation", 150)


@pytest.mark.parametrize(
    ("changes", "columns", "message"),
    [
        ({"label": None}, Columns(), r"no column of the label: name it with --label-column \(looked for label, melan"),
        ({"id": None}, Columns(), "no column of the id: name it with --id-column"),
        ({"p": None}, Columns(), "no column of the probability: name it with --probability-column"),
        ({}, Columns(label="truth"), "no column 'truth', which is to hold the label"),
        ({}, Columns(probabilities=("p", "q")), "no column 'q', which is to hold a probability"),
        ({"p": [0.1, 1.5]}, Columns(), r"'p' outside 0 to 1; .*: 1 rows, e.g. line 3"),
        ({"p": [0.1, "high"]}, Columns(), "no number in 'p': 1 rows, e.g. line 3"),
        ({"id": ["a", "a"]}, Columns(), "an id that is used more than once: 2 rows, e.g. line 2, 3"),
        (
            {"label": ["2", "0"]},
            Columns(),
            "labels must be 0 or 1, or say what .* with --positive; got '2'",
        ),
        ({"label": ["1", None]}, Columns(), "no label: 1 rows, e.g. line 3"),
        ({}, Columns(positive="mel"), "no label is 'mel', they are '0', '1'"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, changes: dict, columns: Columns, message: str):
    table = pd.DataFrame({"id": ["a", "b"], "label": ["1", "0"], "p": [0.1, 0.2]}).assign(**changes)
    table = table.drop(columns=[name for name, value in changes.items() if value is None])
    with pytest.raises(InputError, match=message):
        read_predictions(write(table, tmp_path / "m.csv"), columns)


def test_what_is_no_table(tmp_path: Path):
    with pytest.raises(InputError, match="no such table"):
        read_predictions(tmp_path / "none.csv")
    (tmp_path / "m.docx").touch()
    with pytest.raises(InputError, match=r"a \.csv, \.tsv, .* or \.parquet file, got '\.docx'"):
        read_predictions(tmp_path / "m.docx")
    (tmp_path / "empty.csv").write_text("id,label,p\n")
    with pytest.raises(InputError, match="has no rows"):
        read_predictions(tmp_path / "empty.csv")


def test_columns_are_for_tables_only(table: pd.DataFrame, tmp_path: Path):
    done = call(write(table, tmp_path / "m.csv"), "--model", "a=b", "--label-column", "x")
    assert isinstance(done.exception, InputError)
    assert "leave them out with --model" in str(done.exception)


def test_a_table_gets_what_its_columns_allow(table: pd.DataFrame, tmp_path: Path):
    generator = np.random.default_rng(1)
    table["dx"] = np.where(table["label"] == 1, "melanoma", generator.choice(["seborrhoeic keratosis", "nevus"], 300))
    table["camera"] = generator.choice(["old", "new"], 300)
    path = write(table, tmp_path / "mine.csv")
    more = ["--subgroup", "camera", "--prevalence", "0.02", "--margin", "0.03", "--probability-column", "probability"]
    done = call(path, *more, "--probability-column", "other", "--readers", "0.9,0.7,Our panel 2026")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "mine-report" / "report.json").read_text())
    assert set(report["benign"]["diagnoses"]) == {"seborrhoeic keratosis", "nevus"}
    assert {"camera: old", "camera: new"} <= set(report["groups"]["groups"])
    assert report["operating"]["readers"]["source"] == "Our panel 2026"
    assert report["operating"]["models"]["probability"]["sensitivity_95"]["elsewhere"][0]["prevalence"] == 0.02
    assert report["paired"]["models"]["other"]["non_inferiority"]["shown"] is False
    assert report["calibration"]["fitted_on"] == "cross-fitted"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--subgroup", "sexx", "sex"), ("--prevalence", "2", "prevalence"), ("--margin", "0.9", "margin"),
        ("--readers", "0.9", "SENSITIVITY,SPECIFICITY,SOURCE"), ("--skin-tone", None, "none of 300 can be opened"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(table: pd.DataFrame, tmp_path: Path, option: str, value: str | None, message: str):
    done = call(write(table, tmp_path / "mine.csv"), option, *([] if value is None else [value]))
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)

"""Training images that are judged are found by hashes alone, and refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dermdistill.data.manifest import validate
from dermdistill.data.training_keys import read_training_keys, shared, training_keys, write_training_keys
from dermdistill.errors import InputError, IntegrityError
from dermdistill.evaluate.predictions import pool
from dermdistill.evaluate.report import Circumstances, evaluate


def rows(manifest: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    return manifest[manifest["image_id"].isin(ids)]


def test_a_clean_split_is_clean(manifest: pd.DataFrame, make_model, tmp_path: Path):
    model = make_model()
    model = replace(model, trained_on={"": training_keys(rows(manifest, model.ids("train")))})
    report = evaluate(manifest, {"m": model, "other": make_model(1.0)}, tmp_path, replicates=100)
    found = report.overlap["m"]
    assert found.clean
    assert found.compared == ("lesion", "exact copy")
    assert not report.overlap["other"].compared
    page = (tmp_path / "report.html").read_text()
    assert "nothing: its training images are not known" in page
    assert "learned from lesions" not in page


def test_a_lesion_in_training_is_refused_or_flagged(manifest: pd.DataFrame, make_model, measured, tmp_path: Path):
    model = make_model()
    tested = rows(manifest, model.ids("test"))
    lesion = tested["lesion_id"].value_counts().index[0]
    leak = tested[tested["lesion_id"] == lesion]
    # another photograph of the lesion, under another name
    twin = leak.head(1).assign(image_id="twin", sha256="f" * 64)
    keys = training_keys(pd.concat([rows(manifest, model.ids("train")), twin]))
    model = replace(model, trained_on={"": keys})
    told = rf"(?s)m: {len(leak)} images \(lesion: {len(leak)}\).*--allow-overlap"
    with pytest.raises(InputError, match=told):
        measured({"m": model})
    report = evaluate(manifest, {"m": model}, tmp_path, replicates=100, circumstances=Circumstances(allow_overlap=True))
    assert report.overlap["m"].images == len(leak)
    assert set(report.overlap["m"].examples) <= set(leak["image_id"])
    assert "m: learned from lesions, patients or photographs" in (tmp_path / "report.html").read_text()


def test_each_part_is_compared_with_its_own_training(manifest: pd.DataFrame, make_model, measured):
    model = make_model()
    ids = {"a": model.ids("test"), "b": model.ids("validation")}
    parts = {
        name: replace(
            model, table=model.table[model.table["image_id"].isin(judged)].assign(role="test"),
            trained_on={"": training_keys(manifest[~manifest["image_id"].isin(judged)])},
        )
        for name, judged in ids.items()
    }  # fmt: skip
    pooled = pool(parts)
    assert set(pooled.trained_on) == {"a", "b"}
    assert measured({"m": pooled}).overlap["m"].clean
    swapped = replace(pooled, trained_on={"a": pooled.trained_on["b"], "b": pooled.trained_on["a"]})
    with pytest.raises(InputError, match="have learned from"):
        measured({"m": swapped})


def test_what_is_found_by_hashes_is_what_merging_finds(manifest: pd.DataFrame, tmp_path: Path):
    generator = np.random.default_rng(5)
    first, second = (
        validate(manifest.iloc[sorted(generator.choice(len(manifest), 150, replace=False))].assign(
            image_id=lambda of, side=side: [f"{side}_ISIC_{int(name[3:]):07d}" for name in of["image_id"]],
            patient_id=lambda of: "p" + of["lesion_id"].str[6:].astype(int).floordiv(2).astype(str),
        ))
        for side in "ab"
    )  # fmt: skip
    write_training_keys(first, tmp_path / "keys.npz")
    found = shared(second, read_training_keys(tmp_path / "keys.npz"))
    for kind, column in (("lesion", "lesion_id"), ("patient", "patient_id"), ("exact copy", "sha256")):
        expected = (second["source"] + second[column]).isin(first["source"] + first[column])
        if kind == "exact copy":
            expected = second[column].isin(first[column])
        assert 0 < expected.sum() < len(second)
        assert list(found[kind]) == list(expected)
    photographs = second["image_id"].str[2:].isin(first["image_id"].str[2:])
    assert list(found["photograph"]) == list(photographs)


def test_keys_are_the_same_bytes_again_and_damage_is_told(manifest: pd.DataFrame, tmp_path: Path):
    write_training_keys(manifest, tmp_path / "a.npz")
    write_training_keys(manifest.sample(frac=1, random_state=1), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(IntegrityError, match="holds no hashed keys"):
        read_training_keys(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", lesion=np.array(["a"]))
    with pytest.raises(IntegrityError, match="holds no hashed keys"):
        read_training_keys(tmp_path / "b.npz")
    with pytest.raises(InputError, match=r"a finished run folder holds training-keys\.npz"):
        read_training_keys(tmp_path / "c.npz")

"""A table of logits becomes a teacher's run, or is refused with counts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.foreign import import_logits, views_id, write_table
from dermdistill.distillation.spec import SoftenSpec, TeacherSpec
from dermdistill.errors import InputError, IntegrityError
from dermdistill.training.cohort import Cohort

ASKED = SoftenSpec(views=2)
FOLD = {"melanoma": "mel", "lentigo": "bkl"}
NAMES = (*(name for name in CLASSES if name != "mel"), "melanoma", "lentigo")


@pytest.fixture
def cohort(small):
    manifest, splits, part, _ = small
    fabric = SimpleNamespace(is_global_zero=True, barrier=lambda: None)
    return Cohort(manifest, splits, part, fabric)


@pytest.fixture
def table(cohort):
    """Two views of the training images, the plain image of the others."""
    rows = [(name, view) for view in range(2) for name in cohort.roles["train"]]
    rows += [(name, 0) for role in ("validation", "test") for name in cohort.roles[role]]
    found = pd.DataFrame(rows, columns=["image_id", "view"]).assign(views_id=views_id(ASKED))
    logits = np.random.default_rng(0).normal(0, 3, (len(rows), len(NAMES)))
    return found.assign(**{f"logit_{name}": logits[:, index] for index, name in enumerate(NAMES)})


def take(table, cohort, folder, asked=ASKED, told=None):
    table.to_parquet(folder / "given.parquet")
    logits = {"file": str(folder / "given.parquet"), "fold": FOLD}
    spec = TeacherSpec.model_validate({"name": "elsewhere", "logits": logits})
    return import_logits(spec, cohort, folder / "run", asked, tell=(told if told is not None else []).append)


def test_the_run_holds_what_the_report_and_the_bank_need(table, cohort, tmp_path):
    told = []
    foreign = table.head(1).assign(image_id="stranger")
    run = take(pd.concat([table, foreign]), cohort, tmp_path, told=told)
    assert "1 images are not in the manifest and left out" in told[0]
    header = run.finished()
    assert (header.model, header.data_licences, header.classes) == ("table", None, CLASSES)
    predictions = pd.read_parquet(run.predictions)
    assert predictions["role"].value_counts().to_dict() == {
        role: len(cohort.roles[role]) for role in ("validation", "test")
    }
    identity = BankIdentity(manifest_sha256=cohort.manifest_sha256, classes=CLASSES, synthetic=True)
    write_table(tmp_path / "bank", identity, run, cohort, ASKED)
    bank = Bank.open(tmp_path / "bank", teachers=[header.model_sha256], views=2)
    sha256_of = cohort.manifest.set_index("image_id")["sha256"]
    given = table[table["view"] == 1].set_index(table.loc[table["view"] == 1, "image_id"].map(sha256_of))
    chances = np.exp(given.loc[list(bank.images), [f"logit_{name}" for name in NAMES]].to_numpy(float))
    chances /= chances.sum(1, keepdims=True)
    found = np.exp(bank.logits(1)[:, 0])
    found /= found.sum(1, keepdims=True)
    of = dict(zip(NAMES, chances.T, strict=True))
    assert np.abs(found[:, CLASSES.index("mel")] - of["melanoma"]).max() < 1e-3
    assert np.abs(found[:, CLASSES.index("bkl")] - of["bkl"] - of["lentigo"]).max() < 1e-3
    assert np.abs(found[:, CLASSES.index("nv")] - of["nv"]).max() < 1e-3

    with pytest.raises(InputError, match=r"are of other views \([0-9a-f]{16}\) than the recipe's"):
        write_table(tmp_path / "new", identity, run, cohort, SoftenSpec(views=2, seed=1))
    stored = pd.read_parquet(run.folder / "logits.parquet")
    stored.assign(logit_df=0.0).to_parquet(run.folder / "logits.parquet")
    with pytest.raises(IntegrityError, match="was changed after it was imported"):
        write_table(tmp_path / "new", identity, run, cohort, ASKED)


def test_plain_images_alone_need_no_views_id(table, cohort, tmp_path):
    plain = table[table["view"] == 0].drop(columns="views_id")
    assert take(plain, cohort, tmp_path, SoftenSpec(views=1)).is_complete()


@pytest.mark.parametrize(("change", "told"), [
    (lambda t: t[t["view"] == 0], r"lacks\n  view 1 of 20 of 20 train images, e\.g\. "),
    (lambda t: t[(t["view"] == 1) | (t.index % 2 == 0)], r"view 0 of 9 of 19 validation images"),
    (lambda t: t.drop(columns="views_id"), "does not say in a column views_id for which views"),
    (lambda t: t.assign(views_id="0" * 16), "holds the logits of other views: views_id is 0000000000000000"),
    (lambda t: t.drop(columns="logit_melanoma"), r"fold names \{'melanoma': 'mel'\}, but the table has"),
    (lambda t: t.drop(columns="logit_df"), r"lacks the columns \['logit_df'\]"),
    (lambda t: t.assign(logit_scc=0.0), r"has the classes \['scc'\], which are none of .*fold = \{ scc = 'akiec' \}"),
    (lambda t: t.assign(logit_bcc=np.inf), "no finite numbers"),
    (lambda t: pd.concat([t, t.head(2)]), "2 rows of an image and view that it has already"),
    (lambda t: t.assign(image_id="x"), "names none of the 60 images of the manifest in its column image_id, e.g. 'x'"),
])  # fmt: skip
def test_tables_that_do_not_fit_are_refused_with_counts(table, cohort, tmp_path, change, told):
    with pytest.raises(InputError, match=told):
        take(change(table), cohort, tmp_path)
    assert not (tmp_path / "run" / "logits.parquet").exists()

"""A recipe's stages that take no time: each writes what it would decide from, in the real files of its kind."""

from types import SimpleNamespace

import numpy as np
import pytest

from dermdistill.classes import CLASSES
from dermdistill.distillation.bank_files import open_folder, open_teacher, write_view
from dermdistill.distillation.bank_format import BankTeacher
from dermdistill.distillation.identity import student_identity, teacher_identity
from dermdistill.files import read_json, sha256_file, sha256_json, write_bytes, write_json
from dermdistill.recipe import actions, soften
from dermdistill.recipe.conclude import bundle_identity, report_identity
from dermdistill.recipe.plan import origin
from dermdistill.recipe.run import run_recipe
from dermdistill.recipe.state import mark
from dermdistill.run import Run, open_run

FABRIC = SimpleNamespace(is_global_zero=True, barrier=lambda: None, broadcast=lambda value: value)


class Fake:
    """Stands in for all that stages do, and keeps the names of those that were carried out."""

    def __init__(self, monkeypatch):
        self.ran = []
        for name in ("data", "split", "teach_one", "soften", "distill_one", "evaluate", "export"):
            monkeypatch.setattr(actions, name, getattr(self, name))

    def run(self, work, **how):
        """Carry a recipe out; the names of the stages that it took."""
        self.ran = []
        run_recipe(work, FABRIC, lambda line: None, **how)
        return self.ran

    def _noted(self, *words):
        self.ran.append(" ".join(words))
        return self.ran[-1]

    def data(self, work, identity, session):
        write_bytes(work.manifest, sha256_json(identity).encode())
        mark(work.folder, "data", identity, work.manifest)
        return self._noted("data")

    def split(self, work, session):
        spec, manifest = work.recipe.split, sha256_file(work.manifest)
        content = {
            "format": "dermdistill-splits/1",
            "manifest_sha256": manifest,
            "rule": {"folds": spec.folds, "seed": spec.seed, "holdout": 0.0},
            "folds": {"image": 0},
        }
        write_json(work.splits, {**content, "sha256": sha256_json(content)})
        return self._noted("split")

    def teach_one(self, work, spec, session):
        identity = teacher_identity(spec, origin(work), work.seed(spec))
        return self._train(work.teacher(spec.name), identity, work, list(spec.class_names))

    def distill_one(self, work, spec, session):
        hashes = soften.teacher_hashes(work)
        identity = student_identity(spec, work.recipe.soften, origin(work), work.seed(spec), hashes)
        if spec.labels == "bank":  # refuses another bank, or one that lacks something
            soften.open_bank(work, origin(work).manifest_sha256)
        return self._train(work.student(spec.name), identity, work, list(spec.class_names))

    def _train(self, folder, identity, work, classes):
        identity["inputs"]["bank"] = None
        result = sha256_json(identity)
        facts = {
            "model": "net", "classes": classes, "image_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "roles": {},
            "data_sources": ["synthetic"],
        }  # fmt: skip
        run = open_run(folder, identity, facts)
        write_bytes(run.predictions, result.encode())
        write_bytes(run.model, result.encode())
        run.finish(
            parameters=1,
            macs=1,
            best_epoch=0,
            best_auroc=0.9,
            training_seconds=1.0,
            model_sha256=sha256_file(run.model),
        )
        kind = "teach" if identity["stage"] == "teacher" else "distill"
        return self._noted(kind, identity["name"])

    def soften(self, work, session):
        known = origin(work)
        images = [sha256_json([known.splits_sha256, known.split, number]) for number in range(2)]
        identity = soften._identity(work, known.manifest_sha256)
        mark(work.folder, soften._marker(work), {"split": known.split, "splits": known.splits_sha256})
        for folder in work.ensemble:
            header, _ = open_folder(work.bank, identity, images)
            entry = open_teacher(work.bank, BankTeacher.of_run(Run(folder).trained().plain()))
            for view in range(entry.views, work.recipe.soften.views):
                logits = np.zeros((2, len(CLASSES)), np.float16)
                entry = write_view(work.bank, header.shard, entry, view, logits)
        return self._noted("soften")

    def evaluate(self, work, session):
        identity = report_identity(work)
        write_json(work.report / "report.json", identity)
        mark(work.folder, "evaluate", identity)
        return self._noted("evaluate")

    def export(self, work, name, session):
        identity = bundle_identity(work, name)
        write_json(work.bundle(name) / "bundle.json", identity)
        mark(work.folder, f"export-{name}", identity)
        return self._noted("export", name)

    def results(self, work):
        """What lies in a work folder of a recipe with one part, by its place."""
        runs = [work.teacher(spec.name) for spec in work.teachers] + [work.student(spec.name) for spec in work.students]
        files = [work.manifest, work.splits, work.report / "report.json"]
        files += [work.bundle(name) / "bundle.json" for name in work.exported]
        found = {str(path.relative_to(work.folder)): path.read_bytes() for path in files}
        found |= {str(run.relative_to(work.folder)): Run(run).predictions.read_bytes() for run in runs}
        if any(spec.labels == "bank" for spec in work.students):
            found["bank"] = str(read_json(work.bank / "bank.json")).encode()
        return found


@pytest.fixture
def fake(monkeypatch):
    """Stages that take no time."""
    return Fake(monkeypatch)

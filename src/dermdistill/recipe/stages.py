"""All stages from one recipe: what is done and valid is skipped, what was interrupted goes on.

work folder/
  manifest.parquet  splits.json  set_aside.csv  log.txt
  teachers/NAME/    bank/        students/NAME/
  report/           bundles/NAME/

With split.scheme = "cross" or "sources" the teachers, the bank and the students lie in a folder for each part, such as
fold-0/, and report/out-of-fold/NAME.parquet holds what each model predicted of the images that it never saw.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lightning_fabric as lightning
import pandas as pd

from dermdistill.data.curate.check import check_manifest
from dermdistill.data.curate.duplicates import find_duplicates
from dermdistill.data.importing.datasets import combine, import_dataset
from dermdistill.data.manifest import manifest_hash, read_manifest, write_manifest
from dermdistill.data.splits import Splits, make_splits, read_splits, write_splits
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.bank_format import BankIdentity
from dermdistill.distillation.distill import distill
from dermdistill.distillation.soften import write_teacher
from dermdistill.distillation.spec import StudentSpec
from dermdistill.distillation.teach import load_teacher, teach
from dermdistill.errors import InputError
from dermdistill.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from dermdistill.recipe.parts import part_names, parts
from dermdistill.recipe.work import Work
from dermdistill.run import Run, differing
from dermdistill.training.task import image_sets

if TYPE_CHECKING:
    from dermdistill.evaluate.predictions import ModelPredictions


State = Literal["done", "to do", "differs"]
MEND = "choose another --out, give it another name, or remove its folder"
"""What to do about a stage that differs."""


def find_data(given: Path | None = None) -> Path:
    """The folder of real images: given, else that of `DERMDISTILL_DATA`, else ./data.

    Raises:
        InputError: there is none.
    """
    named = given or os.environ.get("DERMDISTILL_DATA")
    folder = Path(named) if named else Path("data")
    if not folder.is_dir():
        raise InputError(
            f"no data folder at {folder}: give --data DIR or set DERMDISTILL_DATA to the folder that holds the "
            "recipe's sources; `dermdistill data fetch` downloads public ones"
        )
    return folder


def stages(work: Work) -> list[tuple[str, State]]:
    """Each stage in order, and how it stands: the plan that `--dry-run` shows."""
    plan = [
        ("data", _state(_is_current(work, "data", _data_identity(work), work.manifest))),
        ("split", _state(work.splits.exists())),
    ]
    for name in part_names(work.recipe.split):
        plan += _part_stages(work.of(name))
    evidence = _is_current(work, "evaluate", _evidence_identity(work), work.report / "report.json")
    plan.append(("evaluate", _state(evidence)))
    for name in work.exported:
        bundle = work.bundle(name) / "bundle.json"
        current = _is_current(work, f"export-{name}", _bundle_identity(work, name), bundle)
        plan.append((f"export {name}", _state(current)))
    return plan


def _part_stages(work: Work) -> list[tuple[str, State]]:
    where, soften = f" ({work.part})" if work.part else "", work.recipe.soften
    plan = []
    for teacher in work.teachers:
        asked = teacher.model_dump(mode="json")
        plan.append((f"teach {teacher.name}{where}", _run_state(work.teacher(teacher.name), work.seed(teacher), asked)))
    if any(spec.labels == "bank" for spec in work.students):
        unneeded = not work.needs_bank and not (work.bank / "bank.json").exists()
        plan.append((f"soften{where}", "done" if unneeded else _bank_state(work)))
    for student in work.students:
        asked = {**student.model_dump(mode="json"), "views": soften.model_dump(mode="json")}
        state = _run_state(work.student(student.name), work.seed(student), asked)
        if state == "done" and _had_other_teachers(work, student):
            state = "differs"
        plan.append((f"distill {student.name}{where}", state))
    return plan


def _state(done: bool) -> State:
    return "done" if done else "to do"


def _run_state(folder: Path, seed: int, asked: dict[str, Any]) -> State:
    """How a training stands; it differs if its folder holds one of another recipe or seed, which is never replaced."""
    run = Run(folder)
    if not run.header_path.exists():
        return "to do"
    header = run.header()
    if differing(header, {"recipe": asked, "seed": seed}):
        return "differs" if run.checkpoint.exists() or run.is_complete() else "to do"
    return _state(run.is_complete())


def _had_other_teachers(work: Work, student: StudentSpec) -> bool:
    """Whether a student learned from other teachers than it would now; what ships has more with each tested fold."""
    run = Run(work.student(student.name))
    if student.labels == "none" or not run.is_complete():
        return False
    learned = [teacher["model_sha256"] for teacher in run.header().get("taught_by", [])]
    runs = [Run(folder) for folder in work.ensemble]
    now = [teacher.header()["model_sha256"] if teacher.is_complete() else None for teacher in runs]
    return bool(learned) and (
        len(learned) != len(now) or any(new not in (old, None) for old, new in zip(learned, now, strict=True))
    )


def _refuse_other_teachers(work: Work) -> None:
    """Told at once, not after the hours that other stages take."""
    for student in work.students:
        if _had_other_teachers(work, student):
            raise InputError(
                f"{work.student(student.name)} learned from other teachers than the recipe has now "
                f"({len(work.ensemble)}), and is never replaced: {MEND}"
            )


def run_recipe(work: Work, fabric: lightning.Fabric, tell: Callable[[str], None] = print) -> None:
    """Carry out every stage that is not done.

    Args:
        work: the recipe and its folder.
        fabric: launched already.
        tell: told what each stage did, in a line.

    Raises:
        InputError: the folder holds another recipe's work, or the recipe tests what is not there.
    """
    manifest, splits = prepare(work, fabric, tell)
    for name in part_names(work.recipe.split):
        _refuse_other_teachers(work.of(name))
    for part in parts(work.recipe.split, manifest, splits):
        _train(work.of(part.name), manifest, splits, part.roles, fabric, tell)
    if fabric.is_global_zero:
        conclude(work, manifest, tell)
    fabric.barrier()


def _train(
    work: Work, manifest: pd.DataFrame, splits: Splits, roles: dict[str, list[str]], fabric: lightning.Fabric,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """The teachers, the bank and the students of one part."""
    where = f"{work.part} " if work.part else ""
    common: dict[str, Any] = {"fabric": fabric, "cache": work.cache}
    for teacher in work.teachers:
        run = teach(
            teacher, manifest, splits, roles, work.teacher(teacher.name), seed=work.seed(teacher), **common
        )  # fmt: skip
        tell(where + _trained(run))
    bank = None
    if work.needs_bank or (work.bank / "bank.json").exists():
        bank = soften(work, manifest, roles, fabric)
        tell(f"{where}soften: {bank.views} views of {len(bank.images)} images in {bank.folder}")
    for student in work.students:
        run = Run(work.student(student.name))
        if student.labels != "bank" or bank is not None:  # else it is done, and its bank was removed
            run = distill(
                student, manifest, splits, roles, run.folder,
                bank=bank, teachers=work.ensemble, views=work.recipe.soften, seed=work.seed(student), **common,
            )  # fmt: skip
        tell(where + _trained(run))


def prepare(work: Work, fabric: lightning.Fabric, tell: Callable[[str], None]) -> tuple[pd.DataFrame, Splits]:
    """The manifest and the frozen splits, made first where need be."""
    if fabric.is_global_zero:
        identity = _data_identity(work)
        if not _is_current(work, "data", identity, work.manifest):
            if work.manifest.exists():
                raise InputError(f"{work.folder} holds the work of other data; choose another --out")
            _make_manifest(work, tell)
            _mark(work, "data", identity)
        manifest = read_manifest(work.manifest)
        if work.recipe.split.file is not None:
            write_splits(read_splits(work.recipe.split.file, manifest), work.splits)
        elif not work.splits.exists():
            split = work.recipe.split
            write_splits(make_splits(manifest, split.folds, split.seed), work.splits)
    fabric.barrier()
    manifest = read_manifest(work.manifest)
    splits = read_splits(work.splits, manifest)
    asked = {"folds": work.recipe.split.folds, "seed": work.recipe.split.seed}
    if work.recipe.split.file is None and {key: splits.rule[key] for key in asked} != asked:
        raise InputError(
            f"{work.splits} was made with {splits.rule}, the recipe asks for {asked}; choose another --out"
        )
    melanomas = int(manifest["melanoma"].sum())
    tell(f"data: {len(manifest)} images, {melanomas} melanomas, {splits.rule['folds']} folds ({work.manifest})")
    return manifest, splits


def _make_manifest(work: Work, tell: Callable[[str], None]) -> None:
    spec = work.recipe.data
    if spec.synthetic is not None:
        from dermdistill.data.synthetic.generate import generate

        made = spec.synthetic
        generate(work.folder / "synthetic", n=made.images, size=made.size, seed=made.seed)
        write_manifest(read_manifest(work.folder / "synthetic" / "manifest.parquet"), work.manifest)
        return
    if spec.manifest is not None:
        write_manifest(read_manifest(spec.manifest), work.manifest)
        return
    root = find_data(work.data)
    result = combine([
        import_dataset(root / source.path, source.layout, source=source.name, drop_unknown=spec.drop_unknown)
        for source in spec.sources
    ])  # fmt: skip
    for reason, count in result.dropped.items():
        tell(f"data: dropped {count} ({reason})")
    if spec.drop_other:
        other = result.manifest["diagnosis"].isna()
        tell(f"data: dropped {int(other.sum())} (none of the seven classes)")
        result.manifest = result.manifest[~other].reset_index(drop=True)
    table = result.manifest if spec.limit is None else _limited(result.manifest, spec.limit, work.recipe.seed)
    checked = check_manifest(table)
    table = checked.manifest
    found = find_duplicates(table)
    table["duplicate_group"] = found.groups
    bad = zip(checked.set_aside["image_id"], checked.set_aside["message"], strict=True)
    set_aside = [*result.set_aside, *bad, *found.set_aside.items()]
    if set_aside:
        tell(f"data: {len(set_aside)} images set aside, see {work.folder / 'set_aside.csv'}")
        with atomic_path(work.folder / "set_aside.csv") as temporary:
            pd.DataFrame(set_aside, columns=["image", "reason"]).to_csv(temporary, index=False)
    write_manifest(table[~table["image_id"].isin(found.set_aside)], work.manifest)


def _limited(table: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """About `limit` images: the part of a grouped, stratified division that is nearest to it."""
    parts = round(len(table) / limit * 4)
    if parts <= 4:
        return table
    splits = make_splits(table, parts, seed)
    kept = {name for name, fold in splits.folds.items() if isinstance(fold, int) and fold < 4}
    return table[table["image_id"].isin(kept)].reset_index(drop=True)


def soften(work: Work, manifest: pd.DataFrame, part: dict[str, list[str]], fabric: lightning.Fabric) -> Bank:
    """The soft-label bank of the training images; other processes wait until the first has written it.

    Only teachers of whom the bank lacks something are loaded.
    """
    spec = work.recipe.soften
    runs = [Run(folder) for folder in work.ensemble]
    headers = [run.header() for run in runs]
    hashes = [header["model_sha256"] for header in headers]
    identity = _bank_identity(work, headers[0], manifest_hash(manifest))
    if fabric.is_global_zero:
        missing = Bank.missing(work.bank, identity, hashes, spec.views)
        for run, header in zip(runs, headers, strict=True):
            if header["model_sha256"] in missing:
                sets = image_sets(manifest, part, header["image_size"], tuple(header["classes"]), work.cache)
                write_teacher(
                    work.bank, identity, load_teacher(run.folder)[0], header, sets["train"], spec.views,
                    device=fabric.device, batch_size=spec.batch_size,
                )  # fmt: skip
    fabric.barrier()
    return open_bank(work, manifest)


def _bank_identity(work: Work, teacher: dict[str, Any], manifest_sha256: str) -> BankIdentity:
    spec = work.recipe.soften
    return BankIdentity(
        manifest_sha256=manifest_sha256, classes=tuple(teacher["classes"]), seed=spec.seed, spec=spec.spec,
        synthetic="synthetic" in teacher.get("data_sources", ()),
    )  # fmt: skip


def open_bank(work: Work, manifest: pd.DataFrame) -> Bank:
    """The finished bank, with the recipe's teachers and views."""
    headers = [Run(folder).header() for folder in work.ensemble]
    return Bank.open(
        work.bank, teachers=[header["model_sha256"] for header in headers], views=work.recipe.soften.views,
        identity=_bank_identity(work, headers[0], manifest_hash(manifest)),
    )  # fmt: skip


def _bank_state(work: Work) -> State:
    """How the bank stands; it differs if its folder holds one of other views, which is never replaced."""
    runs = [Run(folder) for folder in work.ensemble]
    if not (work.bank / "bank.json").exists() or not all(run.is_complete() for run in runs):
        return "to do"
    headers = [run.header() for run in runs]
    identity = _bank_identity(work, headers[0], headers[0]["inputs"]["manifest"])
    hashes = [header["model_sha256"] for header in headers]
    try:
        return _state(not Bank.missing(work.bank, identity, hashes, work.recipe.soften.views))
    except InputError:
        return "differs"


def conclude(work: Work, manifest: pd.DataFrame, tell: Callable[[str], None]) -> None:
    """The report and the bundles."""
    from dermdistill.evaluate.report import evaluate
    from dermdistill.export.bundle import export_bundle

    spec, report = work.recipe.evaluate, work.report / "report.json"
    identity = _evidence_identity(work)
    models = _predictions(work)
    if not _is_current(work, "evaluate", identity, report):
        evaluate(
            manifest, models, work.report, baseline=work.recipe.baseline,
            replicates=spec.replicates, seed=spec.seed,
        )  # fmt: skip
        _mark(work, "evaluate", identity)
    tell(f"evaluate: {work.report / 'report.html'}")
    crossed = work.recipe.split.scheme != "hold-out"
    for name in work.exported:
        identity = _bundle_identity(work, name)
        if not _is_current(work, f"export-{name}", identity, work.bundle(name) / "bundle.json"):
            export_bundle(
                work.shipped.student(name), work.bundle(name), manifest, name=name, report=report, force=True,
                out_of_fold=models[name] if crossed else None,
            )  # fmt: skip
            _mark(work, f"export-{name}", identity)
        tell(f"export: {work.bundle(name)}")


def _predictions(work: Work) -> "dict[str, ModelPredictions]":
    """Each model's predictions and the teachers' average; of several parts each image's by what never saw it."""
    from dermdistill.evaluate.predictions import pool, read_model, with_ensemble

    names, teachers = _names(work), [spec.name for spec in work.recipe.teachers]
    if work.recipe.split.scheme == "hold-out":
        return with_ensemble({name: read_model(_folder(work, name)) for name in names}, teachers)
    pooled = {name: pool({part.part: read_model(_folder(part, name)) for part in work.tested}) for name in names}
    pooled = with_ensemble(pooled, teachers)
    for name, model in pooled.items():
        path = work.report / "out-of-fold" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            model.table.to_parquet(temporary, index=False)
    return pooled


def _names(work: Work) -> list[str]:
    return [spec.name for spec in work.recipe.teachers] + [spec.name for spec in work.recipe.students]


def _folder(work: Work, name: str) -> Path:
    return work.teacher(name) if name in {spec.name for spec in work.recipe.teachers} else work.student(name)


def _trained(run: Run) -> str:
    header = run.header()
    best, epoch = header["best_auroc"], header["best_epoch"] + 1
    kept = f"epoch {epoch} kept" if best is None else f"validation melanoma AUROC {best:.4f} in epoch {epoch}"
    return (
        f"{header['stage']} {header['name']}: {header['parameters']:,} parameters, {kept}, "
        f"trained for {header['training_seconds']:.0f} s"
    )


def _data_identity(work: Work) -> str:
    spec = work.recipe.data
    given = None if spec.manifest is None else manifest_hash(read_manifest(spec.manifest))
    return sha256_json([spec.model_dump(mode="json"), given])


def _evidence_identity(work: Work) -> str:
    names = _names(work)
    predictions = {name: [_hash_of(Run(_folder(part, name)).predictions) for part in work.tested] for name in names}
    return sha256_json([predictions, work.recipe.evaluate.model_dump(mode="json"), _hash_of(work.manifest)])


def _bundle_identity(work: Work, name: str) -> str:
    models = [_hash_of(Run(part.student(name)).predictions) for part in work.tested]
    return sha256_json([_hash_of(Run(work.shipped.student(name)).model), models, _hash_of(work.report / "report.json")])


def _hash_of(path: Path) -> str | None:
    return sha256_file(path) if path.exists() else None


def _marker(work: Work, stage: str) -> Path:
    return work.folder / "stages" / f"{stage}.json"


def _mark(work: Work, stage: str, identity: str) -> None:
    write_json(_marker(work, stage), {"stage": stage, "identity": identity})


def _is_current(work: Work, stage: str, identity: str, output: Path) -> bool:
    marker = _marker(work, stage)
    return output.exists() and marker.exists() and read_json(marker)["identity"] == identity

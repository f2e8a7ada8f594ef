"""The first stages: the manifest and the frozen splits."""

import pandas as pd

from dermdistill.data.curate.check import check_manifest
from dermdistill.data.curate.duplicates import find_duplicates
from dermdistill.data.importing.datasets import combine, import_dataset
from dermdistill.data.licensing import under
from dermdistill.data.manifest import read_manifest, write_manifest
from dermdistill.data.spec import DataSpec
from dermdistill.data.splits import make_splits, read_splits, write_splits
from dermdistill.errors import InputError
from dermdistill.files import atomic_path
from dermdistill.recipe.checks import find_data
from dermdistill.recipe.session import Session
from dermdistill.recipe.work import Work


def make_data(session: Session) -> str:
    """Write the manifest.

    Raises:
        InputError: no data folder, sources that do not fit, or no melanoma among the images.
    """
    work, spec = session.work, session.work.recipe.data
    if spec.synthetic is not None:
        manifest = _synthetic(work)
    elif spec.manifest is not None:
        manifest = read_manifest(spec.manifest)
    else:
        manifest = _imported(session, spec)
    melanomas = int(manifest["melanoma"].sum())
    if melanomas in (0, len(manifest)):
        raise InputError(
            f"{melanomas} of {len(manifest)} images are melanomas: a melanoma detector needs images of both kinds; "
            "look at the labels with `dermdistill data show`"
        )
    write_manifest(manifest, work.manifest)
    return f"data: {len(manifest)} images, {melanomas} melanomas ({work.manifest})"


def _synthetic(work: Work) -> pd.DataFrame:
    from dermdistill.data.synthetic.generate import generate

    made = work.recipe.data.synthetic
    if made is None:
        raise InputError("the recipe asks for no synthetic images")
    generate(work.synthetic, n=made.images, size=made.size, seed=made.seed)
    return read_manifest(work.synthetic / "manifest.parquet")


def _imported(session: Session, spec: DataSpec) -> pd.DataFrame:
    """The sources in one manifest: checked, copies found, and what shows nothing set aside."""
    work, root = session.work, find_data(session.work.data)
    result = combine([
        import_dataset(root / source.path, source.layout, source=source.name, drop_unknown=spec.drop_unknown)
        for source in spec.sources
    ])  # fmt: skip
    for line in result.told():
        session.tell(f"data: {line}")
    if spec.licences:
        result.manifest, dropped = under(result.manifest, spec.licences)
        for licence, count in dropped.items():
            session.tell(f"data: dropped {count}: under the licence {licence}")
    if spec.drop_other:
        other = result.manifest["diagnosis"].isna()
        session.tell(f"data: dropped {int(other.sum())}: none of the seven classes")
        result.manifest = result.manifest[~other].reset_index(drop=True)
    table = result.manifest if spec.limit is None else _limited(result.manifest, spec.limit, work.recipe.seed)
    checked = check_manifest(table)
    table = checked.manifest
    found = find_duplicates(table)
    table["duplicate_group"] = found.groups
    bad = zip(checked.set_aside["image_id"], checked.set_aside["message"], strict=True)
    set_aside = [*result.set_aside, *bad, *found.set_aside.items()]
    if set_aside:
        path = work.folder / "set_aside.csv"
        session.tell(f"data: {len(set_aside)} images set aside, see {path}")
        with atomic_path(path) as temporary:
            pd.DataFrame(set_aside, columns=["image", "reason"]).to_csv(temporary, index=False)
    return table[~table["image_id"].isin(found.set_aside)]


def _limited(table: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """About `limit` images: the part of a grouped, stratified division that is nearest to it."""
    parts = round(len(table) / limit * 4)
    if parts <= 4:
        return table
    splits = make_splits(table, parts, seed)
    kept = {name for name, fold in splits.folds.items() if isinstance(fold, int) and fold < 4}
    return table[table["image_id"].isin(kept)].reset_index(drop=True)


def make_split(session: Session) -> str:
    """Freeze the splits, or take frozen ones over.

    Raises:
        InputError: a part trains, validates or tests on images without a melanoma.
        IntegrityError: frozen splits belong to another manifest.
    """
    work, spec = session.work, session.work.recipe.split
    if spec.file is not None:
        splits = read_splits(spec.file, session.manifest)
    else:
        splits = make_splits(session.manifest, spec.folds, spec.seed)
    write_splits(splits, work.splits)
    return f"split: {splits.rule['folds']} folds ({work.splits})"

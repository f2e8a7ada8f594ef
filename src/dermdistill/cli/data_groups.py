"""`dermdistill data duplicates | split | audit`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dermdistill.errors import InputError

app = typer.Typer()


@app.command()
def duplicates(
    manifest: Annotated[Path, typer.Argument(help="A manifest.")],
    out: Annotated[Path | None, typer.Option(help="The manifest with groups; by default the same file.")] = None,
    distance: Annotated[int, typer.Option(min=0, max=20, help="Largest distance of perceptual hashes, bits.")] = 12,
    correlation: Annotated[float, typer.Option(min=0, max=1, help="Smallest correlation of thumbnails.")] = 0.95,
    pairs: Annotated[Path | None, typer.Option(help="Write the pairs found to this CSV.")] = None,
) -> None:
    """Group exact and near duplicates, in any of the eight orientations, within and across sources."""
    from dermdistill.data.duplicates import find_duplicates
    from dermdistill.data.manifest import read_manifest, write_manifest
    from dermdistill.files import atomic_path

    table = read_manifest(manifest)
    found = find_duplicates(table, distance, correlation)
    table["duplicate_group"] = found.groups
    write_manifest(table, out or manifest)
    source = table.set_index("image_id")["source"]
    across = int((source[found.pairs["a"]].to_numpy() != source[found.pairs["b"]].to_numpy()).sum())
    exact = int(found.pairs["exact"].sum())
    typer.echo(
        f"{len(found.pairs)} pairs ({exact} exact, {across} across sources) in {found.groups.nunique()} groups; "
        f"written to {out or manifest}"
    )
    for name, why in found.set_aside.items():
        typer.echo(f"not compared: {name}: {why}", err=True)
    if pairs is not None:
        with atomic_path(pairs) as temporary:
            found.pairs.to_csv(temporary, index=False)


@app.command()
def split(
    manifest: Annotated[Path, typer.Argument(help="A manifest.")],
    out: Annotated[Path | None, typer.Option(help="By default <manifest>.splits.json beside it.")] = None,
    folds: Annotated[int, typer.Option(min=2)] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    holdout: Annotated[float, typer.Option(min=0, max=0.5, help="Share held out as 'test'.")] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Replace other splits.")] = False,
) -> None:
    """Freeze folds that no lesion, patient or duplicate group straddles."""
    from rich.console import Console
    from rich.table import Table

    from dermdistill.data.manifest import read_manifest
    from dermdistill.data.splits import make_splits, write_splits

    table = read_manifest(manifest)
    splits = make_splits(table, folds, seed, holdout)
    path = out or manifest.with_suffix(".splits.json")
    write_splits(splits, path, force=force)
    where = table["image_id"].map(splits.folds)
    shown = Table("fold", "images", "melanomas", "melanoma share")
    for fold in sorted(set(splits.folds.values()), key=str):
        part = table[where == fold]
        shown.add_row(str(fold), str(len(part)), str(part["melanoma"].sum()), f"{part['melanoma'].mean():.1%}")
    Console().print(shown)
    typer.echo(f"splits: {path}, SHA-256 {splits.sha256}")


@app.command()
def audit(
    first: Annotated[Path, typer.Argument(help="A manifest.")],
    second: Annotated[Path | None, typer.Argument(help="Another manifest.")] = None,
    splits: Annotated[Path | None, typer.Option(help="Instead: compare the folds of the first manifest.")] = None,
    images: Annotated[bool, typer.Option(help="Look for near-duplicates too.")] = True,
) -> None:
    """Prove that two sets, or the folds of one, share no lesion, patient, copy or near-duplicate; else exit code 1."""
    from dermdistill.data.audit import audit as compare
    from dermdistill.data.manifest import read_manifest
    from dermdistill.data.splits import read_splits

    table = read_manifest(first)
    if (second is None) == (splits is None):
        raise InputError("give a second manifest or --splits, one of the two")
    clean = True
    if second is not None:
        clean = _tell(f"{first} and {second}", compare(table, read_manifest(second), images=images))
    elif splits is not None:
        frozen = read_splits(splits, table)
        where = table["image_id"].map(frozen.folds).astype(str)
        for fold in sorted(where.unique()):
            part = compare(table[where == fold], table[where != fold], images=images)
            clean = _tell(f"fold {fold} and the rest", part) and clean
    if not clean:
        raise typer.Exit(1)


def _tell(what: str, report: Any) -> bool:
    for kind, pairs in report.shared.items():
        if len(pairs):
            listed = ", ".join(f"{a}/{b}" for a, b in pairs.head(5).itertuples(index=False))
            typer.echo(f"{what} share {len(pairs)} pairs by {kind}: {listed}")
    for name, why in report.unreadable.items():
        typer.echo(f"{what}: {name} could not be compared: {why}")
    if report.clean:
        typer.echo(f"{what} ({report.sizes[0]} and {report.sizes[1]} images) share nothing")
    return bool(report.clean)

"""`dermdistill data duplicates | split | audit`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dermdistill import talk
from dermdistill.errors import ExitCode, InputError

app = typer.Typer()

Distance = Annotated[int, typer.Option(min=0, max=20, help="Largest distance of perceptual hashes, of 64 bits.")]
Correlation = Annotated[float, typer.Option(min=0, max=1, help="Smallest correlation of the images' patterns.")]


@app.command()
def duplicates(
    manifest: Annotated[Path, typer.Argument(help="A manifest.")],
    out: Annotated[Path | None, typer.Option(help="The manifest with groups; by default the same file.")] = None,
    distance: Distance = 16,
    correlation: Correlation = 0.68,
    pairs: Annotated[Path | None, typer.Option(help="Write the pairs found to this CSV.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Draw the pairs side by side in this .png or .jpg.")] = None,
) -> None:
    """Group exact and near duplicates, in any of the eight orientations, within and across sources."""
    from dermdistill.data.curate.contact_sheet import write_contact_sheet
    from dermdistill.data.curate.duplicates import find_duplicates, record_search
    from dermdistill.data.manifest import read_manifest, write_manifest
    from dermdistill.files import atomic_path

    table = read_manifest(manifest)
    found = find_duplicates(table, distance, correlation)
    table["duplicate_group"] = found.groups
    write_manifest(table, out or manifest)
    record_search(table, out or manifest, distance, correlation, len(found.pairs))
    sources = table["source"].groupby(found.groups).nunique()
    talk.say(
        f"{len(found.pairs)} pairs ({int(found.pairs['exact'].sum())} exact) in {len(sources)} groups of "
        f"{int(found.groups.notna().sum())} images ({int((sources == 1).sum())} groups within a source, "
        f"{int((sources > 1).sum())} across); written to {out or manifest}"
    )
    if found.set_aside:
        talk.warn(f"{len(found.set_aside)} images could not be read and were compared by their bytes only:")
    for why in found.set_aside.values():
        talk.warn(f"  {why}")
    if pairs is not None:
        with atomic_path(pairs) as temporary:
            found.pairs.to_csv(temporary, index=False)
    if sheet is not None:
        readable = found.pairs[~found.pairs[["a", "b"]].isin(list(found.set_aside)).any(axis=1)]
        if readable.empty:
            talk.say("no pairs to draw")
        else:
            talk.say(f"{write_contact_sheet(table, readable, sheet)} pairs drawn in {sheet}, the least certain first")


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
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from dermdistill.data.curate.duplicates import was_searched
    from dermdistill.data.manifest import read_manifest
    from dermdistill.data.splits import balance, make_splits, write_splits

    table = read_manifest(manifest)
    if not was_searched(table, manifest):
        talk.warn(
            "no duplicate groups in this manifest: they were not looked for; `dermdistill data duplicates` finds them"
        )
    splits = make_splits(table, folds, seed, holdout)
    path = out or manifest.with_suffix(".splits.json")
    write_splits(splits, path, force=force)
    counts = balance(table, splits)
    shown = Table("fold", box=SIMPLE, pad_edge=False)
    for name in counts.columns:
        shown.add_column(name, justify="right", no_wrap=True)
    for fold, row in counts.iterrows():
        cells = {name: str(value) for name, value in row.items()}
        cells["melanomas"] += f" ({row['melanomas'] / row['images']:.1%})"
        shown.add_row(str(fold), *cells.values())
    Console().print(shown)
    typer.echo(f"splits: {path}, SHA-256 {splits.sha256}")


@app.command()
def audit(
    first: Annotated[Path, typer.Argument(help="A manifest.")],
    second: Annotated[Path | None, typer.Argument(help="Another manifest.")] = None,
    splits: Annotated[Path | None, typer.Option(help="Instead: compare the folds of the first manifest.")] = None,
    images: Annotated[bool, typer.Option(help="Look for near-duplicates too.")] = True,
    distance: Distance = 16,
    correlation: Correlation = 0.68,
) -> None:
    """Prove that two sets, or the folds of one, share no lesion, patient, copy or near-duplicate; else exit code 1."""
    from dermdistill.data.curate.audit import audit as compare
    from dermdistill.data.curate.audit import audit_folds
    from dermdistill.data.manifest import read_manifest
    from dermdistill.data.splits import read_splits

    table = read_manifest(first)
    if (second is None) == (splits is None):
        raise InputError("give a second manifest or --splits, one of the two")
    how: dict[str, Any] = {"images": images, "distance": distance, "correlation": correlation}
    if second is not None:
        what, report = f"{first} and {second}", compare(table, read_manifest(second), **how)
    elif splits is not None:
        what, report = f"the folds of {splits}", audit_folds(table, read_splits(splits, table, straddling=True), **how)
    for kind, pairs in report.shared.items():
        if len(pairs):
            listed = "".join(f"\n  {a} {b}" for a, b in pairs.head(10).itertuples(index=False))
            more = f"\n  and {len(pairs) - 10} more" if len(pairs) > 10 else ""
            typer.echo(f"{what}: {len(pairs)} shared by {kind}:{listed}{more}")
    for why in report.unreadable.values():
        typer.echo(f"could not be compared: {why}")
    if not report.clean:
        raise typer.Exit(ExitCode.FAILED)
    unproven = "" if images else "; near-duplicates were not looked for"
    typer.echo(f"{what} ({', '.join(map(str, report.sizes))} images) share nothing{unproven}")

"""`dermdistill data import | check | show`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dermdistill import talk
from dermdistill.cli.options import JsonOption, print_json
from dermdistill.errors import ExitCode, InputError

app = typer.Typer()


_Column = Annotated[str | None, typer.Option(help="This column of an own table; guessed if its name is common.")]


@app.command("import")
def import_(
    folders: Annotated[list[Path], typer.Argument(help="Data sets in their publishers' layouts, or own tables.")],
    out: Annotated[Path, typer.Option(help="The manifest, .parquet or .csv.")],
    layout: Annotated[str, typer.Option(help="auto, or one of the known layouts, for all folders.")] = "auto",
    source: Annotated[
        list[str] | None, typer.Option(help="Name of the source, by default the layout's; one for all or one a folder.")
    ] = None,
    drop_unknown: Annotated[bool, typer.Option("--drop-unknown", help="Leave out unknown diagnoses.")] = False,
    extracted: Annotated[Path | None, typer.Option(help="Where images out of arrays are written.")] = None,
    image_type: Annotated[
        list[str] | None, typer.Option(help="Types to take where a set mixes them, or 'all'; by default dermoscopic.")
    ] = None,
    image_column: _Column = None,
    label_column: _Column = None,
    patient_column: _Column = None,
    lesion_column: _Column = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, by default beside the table.")] = None,
    melanoma_label: Annotated[list[str] | None, typer.Option(help="A label that means melanoma.")] = None,
    drop_label: Annotated[list[str] | None, typer.Option(help="A label whose images are left out.")] = None,
    levels: Annotated[str, typer.Option(help="Class folders: what they name, as class/patient/lesion.")] = "class",
) -> None:
    """Import HAM10000, ISIC tables and archive downloads, other public sets, class folders, arrays or an own table."""
    from dermdistill.data.importing.datasets import combine, import_dataset
    from dermdistill.data.importing.own import Own
    from dermdistill.data.manifest import write_manifest

    names: list[str | None] = list(source) if source else [None]
    if len(names) not in (1, len(folders)):
        raise InputError(f"--source is given {len(names)} times for {len(folders)} folders; give it once, or for each")
    names *= len(folders) // len(names)
    own = Own(
        image_column, label_column, patient_column, lesion_column, images, tuple(melanoma_label or ()),
        tuple(drop_label or ()), tuple(levels.split("/")),
    )  # fmt: skip
    options: dict[str, Any] = {"drop_unknown": drop_unknown, "extracted": extracted, "own": own}
    if image_type:
        options["image_types"] = image_type
    pairs = zip(folders, names, strict=True)
    result = combine([import_dataset(folder, layout, source=name, **options) for folder, name in pairs])
    write_manifest(result.manifest, out)
    for line in result.told():
        (talk.warn if line.startswith("note: ") else talk.say)(line)
    if result.set_aside:
        aside = out.with_name(f"{out.stem}.set_aside.csv")
        _write_table([{"image": name, "reason": reason} for name, reason in result.set_aside], aside)
        talk.warn(f"set aside {len(result.set_aside)} images, listed in {aside}")
    if talk.loudness() > talk.Loudness.QUIET:
        _show(result.manifest)
    talk.say(f"manifest: {out}")


@app.command()
def check(
    manifest: Annotated[Path, typer.Argument(help="A manifest.")],
    out: Annotated[Path | None, typer.Option(help="Write the manifest without the bad images here.")] = None,
    set_aside: Annotated[Path | None, typer.Option(help="The list; by default set_aside.csv beside it.")] = None,
    hashes: Annotated[bool, typer.Option("--hashes", help="Only compare the files' SHA-256.")] = False,
) -> None:
    """Find unreadable, changed, tiny, blank, mislabelled, repeated and conflicting images. Exit code 1 if there are."""
    from dermdistill.data.curate.check import check_hashes, check_manifest
    from dermdistill.data.manifest import read_manifest, write_manifest

    report = (check_hashes if hashes else check_manifest)(read_manifest(manifest, unique=False))
    listed = set_aside or (out or manifest).with_name("set_aside.csv")
    _write_table(report.set_aside.to_dict("records"), listed, ["image_id", "path", "reason", "message"])
    for table, what in ((report.set_aside, "set aside"), (report.warnings, "kept, but look at them")):
        for reason, count in table["reason"].value_counts().items():
            typer.echo(f"{count} {reason} ({what}), e.g. {table.loc[table['reason'] == reason, 'message'].iloc[0]}")
    odd = listed.with_name(f"{listed.stem}.warnings.csv")
    odd.unlink(missing_ok=True)  # of an earlier check
    if len(report.warnings):
        _write_table(report.warnings.to_dict("records"), odd)
        typer.echo(f"{len(report.warnings)} to look at, listed in {odd}")
    typer.echo(f"{len(report.manifest)} images are good, {len(report.set_aside)} set aside in {listed}")
    if out is not None:
        if report.manifest.empty:
            raise InputError(f"no image is left: {out} is not written; {listed} says why")
        write_manifest(report.manifest, out)
    if len(report.set_aside):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def show(manifest: Annotated[Path, typer.Argument(help="A manifest.")], as_json: JsonOption = False) -> None:
    """Count a manifest's images by source and diagnosis, and print its hash."""
    from dermdistill.data.manifest import manifest_hash, read_manifest

    table = read_manifest(manifest)
    if as_json:
        counts = {
            str(name): {"images": len(rows), "melanomas": int(rows["melanoma"].sum()),
                        "diagnoses": rows["diagnosis"].fillna("open").value_counts().to_dict()}
            for name, rows in table.groupby("source")
        }  # fmt: skip
        print_json({"sha256": manifest_hash(table), "images": len(table), "sources": counts})
        return
    _show(table)
    typer.echo(f"SHA-256 {manifest_hash(table)}")


def _show(manifest: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = manifest.assign(diagnosis=manifest["diagnosis"].fillna("open")).groupby(["source", "diagnosis"]).size()
    wide = counts.unstack(fill_value=0)
    shown = Table("source", *map(str, wide.columns), "all", "melanomas")
    melanomas = manifest.groupby("source")["melanoma"].sum()
    for name, row in wide.iterrows():
        shown.add_row(str(name), *map(str, row), str(row.sum()), str(melanomas[name]))
    Console().print(shown)


def _write_table(rows: list[Any], path: Path, columns: list[str] | None = None) -> None:
    import pandas as pd

    from dermdistill.files import atomic_path

    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False)

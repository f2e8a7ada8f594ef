"""The whole study from settings to report: what is done is skipped, what was interrupted goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning_fabric as lightning
from rich.console import Console
from rich.table import Table

from dermdistill.errors import InputError
from dermdistill.khan2022.beside import Beside, judge
from dermdistill.khan2022.data import Pool, open_pool
from dermdistill.khan2022.leak import measure_leak
from dermdistill.khan2022.recipe import Row, Settings, timed_systems
from dermdistill.khan2022.report import write_report
from dermdistill.khan2022.study import Study, run_row
from dermdistill.khan2022.synthetic import generate_quadruple
from dermdistill.khan2022.systems import spec_of
from dermdistill.khan2022.timing import measure_timing


def open_study(
    settings: Settings, folder: Path, data: Path | None, cache: Path | None, fabric: lightning.Fabric,
    tell: Callable[[str], None] = print,
) -> Study:  # fmt: skip
    """Open the images of a study, or draw them where the settings allow it.

    Args:
        settings: image size and how many images.
        folder: the study's.
        data: folder of the four arrays, or a manifest.
        cache: folder of decoded images, by default the user's.
        fabric: launched already.
        tell: called with a line about each step.

    Raises:
        InputError: no data are given, and the settings need some.
    """
    if data is None:
        if not settings.synthetic:
            raise InputError("--data is needed: the folder of the paper's four .npy arrays, or a manifest")
        data = generate_quadruple(folder / "synthetic", settings.pool, settings.image_size)
    source = data

    def open_at(size: int) -> Pool:
        return open_pool(source, size, settings.pool, cache)

    pool = open_at(settings.image_size)
    for note in pool.notes:
        tell(f"data: {note}")
    return Study(settings, pool, folder, fabric, tell, open_at)


def require_sizes(settings: Settings, rows: list[Row], timed: bool) -> None:
    """Refuse images that are too small for a network of the study, before hours are spent on the others.

    Raises:
        InputError: names the networks and their smallest images.
    """
    usual = settings.image_size
    needed = {(row.system, row.image_size or usual) for row in rows}
    needed |= {(settings.teacher, row.image_size or usual) for row in rows if row.distilled}
    needed |= set(timed_systems(settings).values() if timed else ())
    small = [
        f"{spec_of(name).title} needs at least {spec_of(name).smallest} px, not {size}"
        for name, size in sorted(needed)
        if size < spec_of(name).smallest
    ]
    if small:
        raise InputError(
            f"images are too small: {', '.join(small)}; give --image-size, or choose other rows with --table and --row"
        )


def reproduce(study: Study, rows: list[Row], timed: bool, students: Sequence[Beside] = ()) -> None:
    """Carry out the rows with all their seeds, time the systems if wanted, and write the report.

    The seeds are the outer loop, so that a study that is stopped early has every row before it has a spread. The
    report holds whatever is done in the folder under the same settings, not these rows alone.

    Args:
        study: pool, settings, folder.
        rows: what is to be done; none for the clock alone.
        timed: whether the prediction clock is to run.
        students: bundles to judge and to time beside the systems.
    """
    seeds = study.settings.seeds
    for seed in range(max((seeds.of(row) for row in rows), default=0)):
        for row in rows:
            if seed < seeds.of(row):
                run_row(study, row, seed)
                write_report(study, html=False)
    if timed:
        settings = study.settings
        study.tell("prediction times: every system on the same images")
        measure_timing(
            study.pool, timed_systems(settings), settings.image_size, settings.timing, study.fabric.device,
            study.folder / "timing.json", students,
        )  # fmt: skip
    if students:
        study.tell(f"beside the systems: {', '.join(one.bundle.spec.name for one in students)}")
        judge(study, list(students))
    measure_leak(study)
    write_report(study)


def show_rows(study: Study, rows: list[Row]) -> None:
    """Print the rows and how many of their seeds are done."""
    table = Table("table", "row", "seeds", "done", title=str(study.folder))
    for row in rows:
        wanted = study.settings.seeds.of(row)
        done = sum(study.result(row, seed) is not None for seed in range(wanted))
        table.add_row(row.table, row.name, str(wanted), str(done))
    Console().print(table)

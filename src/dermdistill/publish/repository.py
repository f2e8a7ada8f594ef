"""Where the repository is that results are published into, and the marked places of its pages."""

import argparse
from pathlib import Path

from dermdistill.errors import InputError
from dermdistill.files import write_text


def find_root(given: Path | None = None) -> Path:
    """The root of the repository: the folder given, else the current folder or the nearest above it.

    Raises:
        InputError: it is no checkout of dermdistill.
    """
    start = (given or Path.cwd()).resolve()
    for folder in [start] if given else [start, *start.parents]:
        if (folder / "pyproject.toml").is_file() and (folder / "src" / "dermdistill").is_dir():
            return folder
    raise InputError(f"{start} is not in a checkout of dermdistill; change into one, or give it with --root")


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add the option `--root`."""
    parser.add_argument("--root", type=Path, help="the repository, by default the one of the current folder")


def replace_between(path: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- NAME …-->` and the next `<!-- /`.

    Raises:
        InputError: the page has no such marks.
    """
    content = path.read_text(encoding="utf-8")
    before, start, rest = content.partition(f"<!-- {name}")
    comment, close, rest = rest.partition("-->\n")
    _, end, after = rest.partition("<!-- /")
    if not end:
        raise InputError(f"{path} has no marks <!-- {name} --> and <!-- /… -->; put them where the text belongs")
    write_text(path, f"{before}{start}{comment}{close}{text}\n{end}{after}")

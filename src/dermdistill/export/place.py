"""Where a bundle is written: beside others, whole, and never over anything else."""

from pathlib import Path

from dermdistill.errors import InputError


def check_place(out: Path, force: bool) -> None:
    """Raise InputError where a bundle may not be written."""
    if out.exists() and not force:
        raise InputError(f"{out} exists; choose another folder, or --force to replace it")
    if out.exists() and not ((out / "bundle.json").is_file() or _is_empty_folder(out)):
        raise InputError(f"{out} is not a bundle, and only bundles are replaced; choose another folder")


def swap(new: Path, out: Path) -> None:
    """Put a finished folder in place; an old one goes to the new one's parent, or back if anything fails."""
    if not out.exists():
        new.replace(out)
        return
    old = new.with_name(f"{new.name}.old")
    out.replace(old)
    try:
        new.replace(out)
    except OSError:
        old.replace(out)
        raise


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())

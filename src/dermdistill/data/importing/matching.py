"""Which file is which row's image; two different files for one row are an error, not a choice."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from dermdistill.data.ids import photographs
from dermdistill.data.importing.survey import (
    COPIES,
    MASKS,
    OTHER_FORMATS,
    THUMBNAILS,
    UNUSED,
    Survey,
    is_mask,
    opened,
)
from dermdistill.errors import InputError
from dermdistill.files import sha256_file
from dermdistill.images.formats import IMAGE_SUFFIXES

_ALIKE = 0.9
"""Correlation of two images at 16 pixels from which the smaller one is a thumbnail of the other."""
_TRIED = 50
"""A common prefix and suffix are recognised from so many names."""
_SIZED_FOLDER = re.compile(
    r"(^|[_\-. ])(\d{1,4}x\d{1,4}|small|tiny|resized|low_?res|downsampled)($|[_\-. ])", re.IGNORECASE
)


def without_suffix(name: str) -> str:
    """A name without the extension of an image, whatever its case and whether the format is read."""
    stem, dot, suffix = name.rpartition(".")
    known = f".{suffix.lower()}" in IMAGE_SUFFIXES | OTHER_FORMATS.keys()
    return stem if dot and stem and known else name


def image_ids(names: pd.Series) -> pd.Series:
    """Image ids for what a table calls its images: without extension, and without folders where still unique."""
    plain = names.astype("string").str.strip().str.replace("\\", "/").map(without_suffix, na_action="ignore")
    short = plain.str.rpartition("/")[2]
    whole = plain.str.strip("./").str.replace("/", "_")
    # equal names in different folders are different images
    clashing = plain.groupby(short).transform("nunique") > 1
    return short.mask(clashing, whole).astype("string")


def match(names: pd.Series, found: Survey) -> pd.Series:
    """The file of each row, NA where there is none.

    A name is found with or without its extension and its folder, in any case, and, if it holds the id of a
    photograph of the ISIC archive, by that. Masks, thumbnails and copies are passed over.

    Args:
        names: what the table calls each image.
        found: the files.

    Raises:
        InputError: a row has several different files.
    """
    finder = _Finder(found)
    affixed = finder.affixed(names)
    chosen: list[str | None] = []
    used: set[Path] = set()
    disputed: list[str] = []
    called = names.astype("string")
    for name, photograph in zip(called, photographs(called.str.rpartition("/")[2]), strict=True):
        candidates = (finder.candidates(name, photograph) or affixed.get(name, [])) if pd.notna(name) else []
        left = _choose(candidates, found)
        used.update(candidates)
        if len(left) > 1:
            disputed.append(f"{name}: {' and '.join(map(str, left))}")
        chosen.append(str(left[0]) if left else None)
    _refuse(disputed, found.root)
    for path in found.images:
        if path not in used:
            found.pass_over(UNUSED, path)
    return pd.Series(chosen, names.index, dtype="string")


def without_file(names: pd.Series, found: Survey) -> list[str]:
    """The names that no file fits."""
    finder = _Finder(found)
    called = names.astype("string")
    shown = photographs(called.str.rpartition("/")[2])
    affixed = finder.affixed(names)
    pairs = zip(called, shown, strict=True)
    return [name for name, shows in pairs if not finder.candidates(name, shows) and name not in affixed]


def only_one(groups: dict[str, list[Path]], found: Survey) -> set[Path]:
    """The one file of each id of class folders; the rest are masks, thumbnails and copies.

    Raises:
        InputError: an id has several different files.
    """
    chosen = {name: paths if len(paths) == 1 else _choose(paths, found) for name, paths in groups.items()}
    several = {name: paths for name, paths in chosen.items() if len(paths) > 1}
    _refuse([f"{name}: {' and '.join(map(str, paths))}" for name, paths in several.items()], found.root)
    return {path for paths in chosen.values() for path in paths}


def without_sized_copies(paths: list[Path], found: Survey) -> list[Path]:
    """Class folders without the small copies in another partition that a size names, such as `28x28/`."""
    kept: set[Path] = set(paths)
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in paths:
        groups[path.parent.name, path.stem].append(path)
    for group in groups.values():
        if len(group) > 1 and any(_is_sized(path, found.root) for path in group):
            kept -= set(group) - set(_without_thumbnails(group, found))
    return [path for path in paths if path in kept]


def _is_sized(path: Path, root: Path) -> bool:
    return any(_SIZED_FOLDER.search(name) for name in path.relative_to(root).parts[:-1])


def _refuse(disputed: list[str], root: Path) -> None:
    if disputed:
        more = f"\n  … and {len(disputed) - 5} more" if len(disputed) > 5 else ""
        raise InputError(
            f"{root}: {len(disputed)} images have several different files; keep one of each, or import a folder "
            "that holds one:\n  " + "\n  ".join(disputed[:5]) + more
        )


class _Finder:
    """Finds files by what tables call them."""

    def __init__(self, found: Survey):
        self.root = found.root
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        self.by_lower: dict[str, list[Path]] = defaultdict(list)
        for path in found.images:
            self.by_stem[path.stem].append(path)
            self.by_lower[path.stem.lower()].append(path)
        stems = pd.Series([path.stem for path in found.images], dtype="string")
        self.by_photograph: dict[str, list[Path]] = defaultdict(list)
        for path, photograph in zip(found.images, photographs(stems), strict=True):
            if pd.notna(photograph):
                self.by_photograph[photograph].append(path)

    def candidates(self, name: str, photograph: str | None) -> list[Path]:
        """The files that a name, or else the photograph of the archive in it, may mean; exact names come first."""
        given = PurePosixPath(str(name).strip().replace("\\", "/"))
        if len(given.parts) > 1 and given.suffix.lower() in IMAGE_SUFFIXES:
            direct = self.root / given  # a path says which one
            if direct.is_file():
                return [direct]
        stem = without_suffix(given.name)
        paths = self.by_stem.get(stem) or self.by_lower.get(stem.lower()) or []
        if not paths and pd.notna(photograph):
            paths = self.by_photograph.get(str(photograph), [])
        if len(paths) > 1 and given.suffix.lower() in IMAGE_SUFFIXES:
            paths = [path for path in paths if path.suffix.lower() == given.suffix.lower()] or paths
        if len(given.parts) > 1:
            paths = self._in_folder(paths, given)
        return paths

    def affixed(self, names: pd.Series) -> dict[str, list[Path]]:
        """The files of names, if none is found as it stands and all files have one more prefix and suffix, or fewer."""
        stems = {str(name): without_suffix(PurePosixPath(str(name).replace("\\", "/")).name) for name in names.dropna()}
        if not stems or any(stem.lower() in self.by_lower for stem in stems.values()):
            return {}
        longer, shorter = _affixes(list(stems.values()), self.by_stem), _affixes(list(self.by_stem), stems.values())
        if longer:
            made = {name: f"{longer[0]}{stem}{longer[1]}" for name, stem in stems.items()}
        elif shorter:
            made = {name: stem.removeprefix(shorter[0]).removesuffix(shorter[1]) for name, stem in stems.items()}
        else:
            return {}
        return {name: self.by_stem[stem] for name, stem in made.items() if stem in self.by_stem}

    def _in_folder(self, paths: list[Path], given: PurePosixPath) -> list[Path]:
        """Of several files those that share most of the folders that the name gives."""
        wanted = [part.lower() for part in given.parts[-2::-1]]

        def shared(path: Path) -> int:
            folders = [part.lower() for part in path.parts[-2::-1]]
            pairs = zip(wanted, folders, strict=False)
            return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(wanted), len(folders)))

        most = max(map(shared, paths), default=0)
        return [path for path in paths if shared(path) == most]


def _affixes(names: Collection[str], longer: Collection[str]) -> tuple[str, str] | None:
    """The prefix and suffix that make nearly all longer names out of the others; None if there is no one such pair."""
    pairs: Counter[tuple[str, str]] = Counter()
    tried = list(names)[:_TRIED]
    for name in tried:
        for other in longer:
            prefix, found, suffix = other.partition(name)
            whole = not (prefix and _kind(prefix[-1]) == _kind(name[0])) and not (
                suffix and _kind(suffix[0]) == _kind(name[-1])
            )
            if found and whole and (prefix or suffix):
                pairs[prefix, suffix] += 1
    fitting = [pair for pair, count in pairs.items() if count >= 0.9 * len(tried)]
    return fitting[0] if len(fitting) == 1 else None


def _kind(letter: str) -> int:
    return 2 * letter.isdigit() + letter.isalpha()


def _choose(paths: list[Path], found: Survey) -> list[Path]:
    """Of one image's candidates those that stay, passing over masks, thumbnails and copies; more than one: disputed."""
    several = len(paths) > 1
    left = []
    for path in paths:
        if is_mask(path, coloured=several):
            found.pass_over(MASKS, path)
        else:
            left.append(path)
    left = _once(left, found)
    return _without_thumbnails(left, found) if len(left) > 1 else left


def _once(paths: list[Path], found: Survey) -> list[Path]:
    """The first of files with the same bytes."""
    if len(paths) < 2:
        return paths
    kept: dict[str, Path] = {}
    for path in paths:
        digest = sha256_file(path)
        if digest in kept:
            found.pass_over(COPIES, path)
        else:
            kept[digest] = path
    return list(kept.values())


def _without_thumbnails(paths: list[Path], found: Survey) -> list[Path]:
    """Without smaller ones than the largest, for which two of these speak: half the size, folder's name, content."""
    sides = {path: side for path in paths if (side := _side(path))}
    if not sides:
        return paths
    largest = max(sides, key=lambda path: sides[path])
    left = []
    for path in paths:
        smaller = path in sides and sides[path] < sides[largest]
        signs = smaller and [2 * sides[path] <= sides[largest], _is_sized(path, found.root)]
        if signs and (all(signs) or (any(signs) and _correlation(path, largest) >= _ALIKE)):
            found.pass_over(THUMBNAILS, path)
        else:
            left.append(path)
    return left


def _side(path: Path) -> int | None:
    """The longer side in pixels, or None of a file that cannot be opened."""
    try:
        with opened(path) as image:
            return max(image.size)
    except Exception:  # a damaged file is reported where it is decoded
        return None


def _correlation(one: Path, other: Path) -> float:
    """The correlation of two images' grey values at 16x16 pixels, 0 if one cannot be read or is of one colour."""
    try:
        small = []
        for path in (one, other):
            with opened(path) as image:
                small.append(np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX), float).ravel())
    except Exception:  # a damaged file is reported where it is decoded
        return 0.0
    if min(values.std() for values in small) < 1:
        return 0.0
    return float(np.corrcoef(small)[0, 1])

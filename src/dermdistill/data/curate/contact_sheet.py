"""Pairs of images side by side, to be looked at."""

from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

from dermdistill.data.curate.duplicates import ORIENTATIONS
from dermdistill.errors import InputError
from dermdistill.files import atomic_path
from dermdistill.images.preprocess import load_rgb

_SIDE = 160
_LABEL = 28
_GAP = 12
_COLUMNS = 4


def write_contact_sheet(manifest: pd.DataFrame, pairs: pd.DataFrame, path: str | Path, limit: int = 200) -> int:
    """Draw pairs of duplicates, the least certain first, the second image turned to match the first.

    Args:
        manifest: with the images' paths.
        pairs: as `find_duplicates` gives them.
        path: where the sheet is written, .png or .jpg.
        limit: largest number of pairs to draw.

    Returns:
        The number of pairs drawn.

    Raises:
        InputError: another kind of file is asked for, or there are no pairs.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"a contact sheet is a .png or .jpg file, got '{path.suffix}' in {path}")
    if pairs.empty:
        raise InputError("there are no pairs to draw")
    shown = pairs.sort_values(["correlation", "a", "b"]).head(limit)
    paths = manifest.set_index("image_id")["path"]
    columns = min(_COLUMNS, len(shown))
    width, height = 2 * _SIDE + _GAP, _SIDE + _LABEL
    sheet = Image.new("RGB", (columns * width - _GAP, -(-len(shown) // columns) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for place, row in enumerate(shown.to_dict("records")):
        left, top = place % columns * width, place // columns * height
        turn = ORIENTATIONS.index(row["orientation"])
        for side, (name, flip) in enumerate(((row["a"], 0), (row["b"], turn))):
            image = load_rgb(paths[name]).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            sheet.paste(
                image.transpose(Image.Transpose(flip - 1)) if flip else image, (left + side * _SIDE, top + _LABEL)
            )
        certainty = "same bytes" if row["exact"] else f"{row['correlation']:.3f}, {row['distance']} bits"
        pen.text((left, top + 1), f"{row['a']}  {row['b']}\n{certainty}, {row['orientation']}", fill="black")
    with atomic_path(path) as temporary:
        sheet.save(temporary)
    return len(shown)

"""The recipes that travel with the package."""

import tomllib
from pathlib import Path

from dermdistill.errors import no_such

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Each recipe by its name: `release`, or `khan2022/full` for one in a folder.

    In an installed package all of them lie in `dermdistill/recipes`. In a checkout those of the results lie in
    `recipes/` at its root, from where the wheel takes them.
    """
    folders = [_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes"]
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for folder in folders
             for path in folder.rglob("*.toml")}  # fmt: skip
    return dict(sorted(paths.items()))


def find_recipe(name: str) -> Path:
    """The file of a shipped recipe.

    Raises:
        InputError: there is none of this name.
    """
    recipes = shipped_recipes()
    if name not in recipes:
        raise no_such("recipe", name, recipes)
    return recipes[name]


def description(path: Path) -> str:
    """What a recipe says of itself: its `description`, else the first paragraph of its leading comment."""
    text = path.read_text(encoding="utf-8")
    if said := tomllib.loads(text).get("description"):
        return str(said)
    lines = []
    for line in text.splitlines():
        if not line.removeprefix("#").strip():
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines).removesuffix(":")

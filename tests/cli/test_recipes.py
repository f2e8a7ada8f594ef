"""`dermdistill recipes` lists the recipes that come with the package, and copies one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.recipe.shipped import description, find_recipe, shipped_recipes

ROOT = Path(__file__).parents[2]


def test_every_recipe_is_listed():
    done = CliRunner().invoke(app, ["recipes"])
    assert done.exit_code == 0
    for path in [*ROOT.glob("recipes/**/*.toml"), *ROOT.glob("src/dermdistill/recipes/*.toml")]:
        assert path in shipped_recipes().values()
        assert path.stem in done.output
    assert all(description(path) for path in shipped_recipes().values())


def test_a_copy_is_the_recipe(tmp_path: Path):
    done = CliRunner().invoke(app, ["recipes", "copy", "release", str(tmp_path / "my.toml")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "my.toml").read_bytes() == (ROOT / "recipes" / "release.toml").read_bytes()


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path: Path):
    mine = tmp_path / "release.toml"
    mine.write_text("mine")
    done = CliRunner().invoke(app, ["recipes", "copy", "release", str(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert mine.read_text() == "mine"
    assert CliRunner().invoke(app, ["recipes", "copy", "release", str(tmp_path), "--force"]).exit_code == 0
    assert mine.read_bytes() == (ROOT / "recipes" / "release.toml").read_bytes()


def test_an_unknown_recipe_is_told_with_those_that_there_are():
    with pytest.raises(InputError, match=r"no recipe is called 'dream'; did you mean 'demo'\? There are .*release"):
        find_recipe("dream")

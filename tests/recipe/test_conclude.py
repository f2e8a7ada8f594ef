from pathlib import Path
from types import SimpleNamespace

import pytest

from dermdistill.export import bundle
from dermdistill.recipe.conclude import make_bundle
from dermdistill.recipe.spec import Recipe
from dermdistill.recipe.work import Work
from dermdistill.specs import parse


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_the_recipe_chooses_the_calibration(monkeypatch, method):
    asked = {}
    monkeypatch.setattr(bundle, "export_bundle", lambda *_, **options: asked.update(options))
    content = {
        "name": "r", "data": {"sources": [{"path": "ham10000"}]}, "teachers": [{"name": "t"}],
        "students": [{"name": "s"}], "export": {"calibration": method},
    }  # fmt: skip
    recipe = parse(Recipe, content, "recipe")
    make_bundle(Work(recipe, Path("/nowhere")), "s", SimpleNamespace(manifest=None))
    assert asked["calibration"] == method

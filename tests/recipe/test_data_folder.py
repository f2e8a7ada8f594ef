"""Where a recipe looks for real images."""

from pathlib import Path

import pytest

from dermdistill.errors import InputError
from dermdistill.recipe.checks import find_data


def test_the_data_folder_is_the_one_given_else_of_the_variable_else_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DERMDISTILL_DATA", raising=False)
    with pytest.raises(InputError, match="no data folder at data: give --data DIR or set DERMDISTILL_DATA"):
        find_data()
    for name in ("data", "named", "given"):
        (tmp_path / name).mkdir()
    assert find_data() == Path("data")
    monkeypatch.setenv("DERMDISTILL_DATA", str(tmp_path / "named"))
    assert find_data() == tmp_path / "named"
    assert find_data(tmp_path / "given") == tmp_path / "given"

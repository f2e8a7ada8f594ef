"""Weights that were carried along stand in for a package."""

import pytest
import torch
from safetensors.torch import save_file

from dermdistill.errors import IntegrityError
from dermdistill.networks.packages import FOLDER, carried
from dermdistill.networks.pretrained import build_teacher

NAME = "tf_efficientnet_lite0"


def test_a_file_in_the_folder_takes_the_packages_place(tmp_path, monkeypatch):
    whole = build_teacher(NAME, 1000, weights="none")
    save_file({key: value.half() if value.ndim > 1 else value for key, value in whole.state_dict().items()},
              tmp_path / f"{NAME}.safetensors")  # fmt: skip
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert carried(NAME) == tmp_path / f"{NAME}.safetensors"
    built = build_teacher(NAME, 7, weights="package")
    assert torch.equal(built.conv_stem.weight, whole.conv_stem.weight.half().float())
    assert built.conv_stem.weight.dtype == torch.float32


def test_a_file_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    save_file({"other": torch.zeros(1)}, tmp_path / f"{NAME}.safetensors")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(IntegrityError, match="do not fit"):
        build_teacher(NAME, 7, weights="package")


def test_without_the_folder_there_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    assert carried(NAME) is None
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert carried(NAME) is None

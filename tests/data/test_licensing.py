import pandas as pd
import pytest

from dermdistill.data.licensing import known_licences, licences, under
from dermdistill.errors import InputError


@pytest.fixture
def mixed(make_manifest):
    """Two images each: public domain by the source, attribution and non-commercial by their own word, and unknown."""
    manifest = make_manifest(8)
    manifest["source"] = pd.array(["isic2017"] * 2 + ["isic-archive"] * 4 + ["mine"] * 2, "string")
    manifest["licence"] = pd.array([None, None, "CC-BY", "CC-BY", "CC-BY-NC", "CC-BY-NC", None, None], "string")
    return manifest


def test_an_images_own_licence_goes_before_its_sources(mixed):
    expected = ["CC0-1.0"] * 2 + ["CC-BY"] * 2 + ["CC-BY-NC"] * 2 + ["unknown"] * 2
    assert licences(mixed).tolist() == expected
    assert known_licences(mixed) == ["CC-BY", "CC-BY-NC", "CC0-1.0", "unknown"]


def test_only_images_under_the_given_licences_are_kept(mixed):
    kept, dropped = under(mixed, ("CC0", "CC BY"))
    assert kept["image_id"].tolist() == mixed["image_id"].tolist()[:4]
    assert dropped == {"CC-BY-NC": 2, "unknown": 2}


def test_licences_that_leave_no_image_are_refused(mixed):
    with pytest.raises(InputError, match=r"under CC BY-SA, and no image is; the images are under .*CC-BY-NC \(2\)"):
        under(mixed, ("CC BY-SA",))

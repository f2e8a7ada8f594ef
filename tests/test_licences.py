import itertools

import pytest

from dermdistill.licences import KINDS, binding, kind_of


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("CC0-1.0", "CC0"), ("CC-0", "CC0"), ("CC0 1.0", "CC0"), ("cc0", "CC0"), ("Public Domain", "CC0"),
        ("CC BY 4.0", "CC BY"), ("CC-BY", "CC BY"), ("CC BY-SA 4.0", "CC BY-SA"),
        ("CC-BY-NC", "CC BY-NC"), ("CC BY-NC-SA 3.0", "CC BY-NC"), ("CC0-1.0, CC BY-NC 4.0", "CC BY-NC"),
        ("CC BY-ND 4.0", "unknown"), ("CC BY-NC-ND 4.0", "unknown"), ("unknown", "unknown"), ("", "unknown"),
        ("all rights reserved", "unknown"), ("CC0, mine", "unknown"),
    ],
)  # fmt: skip
def test_the_kind_does_not_depend_on_the_spelling(licence, kind):
    assert kind_of(licence) == kind


def test_the_most_restrictive_licence_binds():
    for pair in itertools.combinations(KINDS, 2):
        assert binding(pair) == binding(reversed(pair)) == pair[1]  # they stand from the freest on
    assert binding(["CC0-1.0", "CC BY 4.0", "CC-BY"]) == "CC BY 4.0, CC-BY"
    assert binding(["CC0-1.0", "mine"]) == "unknown"
    assert binding([]) == "unknown"

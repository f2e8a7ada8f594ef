"""Refusals of unknown names tell the nearest one."""

import pytest

from dermdistill.errors import (
    ExitCode,
    FaultError,
    InputError,
    IntegrityError,
    MissingExtraError,
    did_you_mean,
    no_such,
)


def test_the_nearest_name_is_suggested():
    assert did_you_mean("relese", ["sizes", "release"]) == "; did you mean 'release'?"
    assert did_you_mean("dream", ["sizes", "release"]) == ""
    assert did_you_mean(7, ["7a", "b"]) == "; did you mean '7a'?"
    assert did_you_mean("x", []) == ""


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        (
            "relese",
            ("sizes", "release"),
            "no recipe is called 'relese'; did you mean 'release'? There are sizes, release",
        ),
        ("dream", ("sizes", "release"), "no recipe is called 'dream'; there are sizes, release"),
        ("dream", (), "no recipe is called 'dream'; there are none"),
    ],
)
def test_a_refusal_lists_what_there_is(name, known, told):
    error = no_such("recipe", name, iter(known))
    assert isinstance(error, InputError)
    assert str(error) == told


def test_every_error_ends_the_command_with_a_code_of_the_table():
    errors = (InputError("x"), IntegrityError("x"), MissingExtraError("data", "pandas"), FaultError(KeyError("x")))
    expected = [ExitCode.REFUSED, ExitCode.REFUSED, ExitCode.FAILED, ExitCode.FAULT]
    assert [error.exit_code for error in errors] == expected

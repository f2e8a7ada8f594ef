"""The visible tables: what sources call a diagnosis or a site, and what their images may be used for."""

import tomllib
from pathlib import Path

import pytest

from dermdistill.classes import CLASSES
from dermdistill.data.fetch.download import COLLECTIONS
from dermdistill.data.importing.datasets import LAYOUTS
from dermdistill.data.sources import DIAGNOSES, NAMES, OTHER, SITES, SOURCES, diagnosis, site, source_name


@pytest.mark.parametrize("table", [DIAGNOSES, SITES], ids=["diagnoses", "sites"])
def test_words_can_be_looked_up_as_they_stand(table):
    """A key with capitals or two spaces would never be found."""
    assert [word for word in table if word != " ".join(word.strip().lower().split())] == []


def test_every_word_means_a_class_or_other():
    assert set(DIAGNOSES.values()) == {*CLASSES, OTHER}
    assert all(diagnosis(word.upper()) == meaning for word, meaning in DIAGNOSES.items())
    assert diagnosis("  Basal  Cell\tCarcinoma ") == "bcc"


def test_whatever_says_melanoma_is_one_and_nothing_else_is():
    named = {word for word in DIAGNOSES if "melanoma" in word and not word.startswith(("non-", "not ", "no "))}
    others = {"mel", "mm", "alm", "ssm", "lmm", "lentigo maligna"}
    assert {word for word, meaning in DIAGNOSES.items() if meaning == "mel"} == named | others


@pytest.mark.parametrize("word", ["malignant", "unknown", "indeterminate", "atypical melanocytic proliferation", ""])
def test_words_that_do_not_tell_are_not_guessed(word):
    assert diagnosis(word) is None


def test_sites_that_are_not_in_the_table_are_left_out():
    assert site("Back ") == "posterior torso"
    assert site("unknown") is None


def test_every_layout_and_download_has_a_licence_line_and_a_citation():
    for name in {*LAYOUTS, *COLLECTIONS, "dermamnist", "synthetic"}:
        assert SOURCES[name].citation
    non_commercial = ("ham10000", "isic2018", "isic2019", "isic2020", "isic2024", "dermamnist")
    assert {SOURCES[name].licence for name in non_commercial} == {"CC BY-NC 4.0"}


def test_people_read_a_name_for_every_source_and_for_the_parts_that_recipes_make_of_them():
    recipes = Path(__file__).parents[2] / "recipes"
    of_recipes = {
        source.get("name", source["layout"])
        for path in recipes.glob("**/*.toml")
        for source in tomllib.loads(path.read_text()).get("data", {}).get("sources", [])
    }
    assert "ham10000-more" in of_recipes
    assert {*SOURCES, *of_recipes} <= set(NAMES)
    assert all(name.get("en") for name in NAMES.values())


def test_a_source_without_a_name_keeps_its_own_and_one_without_a_translation_is_named_in_english():
    assert source_name("ham10000-whole") == "HAM10000 (whole frames)"
    assert source_name("ham10000-whole", "de") == "HAM10000 (ganze Aufnahmen)"
    assert source_name("isic2017", "de") == "ISIC 2017"
    assert source_name("our-clinic") == "our-clinic"

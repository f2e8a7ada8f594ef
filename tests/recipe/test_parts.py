import pytest

from dermdistill.data.spec import SplitSpec
from dermdistill.data.splits import groups, make_splits
from dermdistill.data.synthetic.generate import generate
from dermdistill.errors import InputError
from dermdistill.recipe.parts import part_names, parts
from dermdistill.specs import parse


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    table = generate(tmp_path_factory.mktemp("parts") / "data", n=60, size=48, seed=0)
    table["source"] = ["one"] * 40 + ["two"] * 20
    table["patient_id"] = None
    table["lesion_id"] = [f"L{row // 2}" for row in range(60)]
    return table


def _parts(manifest, **split):
    spec = SplitSpec.model_validate(split)
    return parts(spec, manifest, make_splits(manifest, spec.folds, spec.seed))


def test_a_hold_out_is_one_part_in_the_work_folder_itself(manifest):
    (only,) = _parts(manifest, folds=3)
    assert only.name == ""
    assert all(only.roles[role] for role in ("train", "validation", "test"))


def test_cross_validation_tests_every_image_once_and_never_one_that_trained(manifest):
    found = _parts(manifest, folds=3, scheme="cross", final=True)
    assert [part.name for part in found] == ["fold-0", "fold-1", "fold-2", "final"]
    tested = [name for part in found for name in part.roles["test"]]
    assert sorted(tested) == sorted(manifest["image_id"])
    group = dict(zip(manifest["image_id"], groups(manifest), strict=True))
    for part in found[:3]:
        assert len(part.roles["train"]) + len(part.roles["test"]) == 60
        assert not {group[name] for name in part.roles["train"]} & {group[name] for name in part.roles["test"]}
        assert part.roles["validation"] == []
    assert found[3].roles == {"train": sorted(manifest["image_id"]), "validation": [], "test": []}


def test_some_folds_alone(manifest):
    assert [part.name for part in _parts(manifest, folds=5, scheme="cross", tested=[3, 0])] == ["fold-3", "fold-0"]


def test_a_source_is_left_out_with_all_copies_of_its_images(manifest):
    copied = manifest.copy()
    copied.loc[[3, 50], "duplicate_group"] = "D1"  # one in each source
    part = _parts(copied, scheme="sources", tested=["two"])[0]
    assert part.name == "without-two"
    assert part.roles["test"] == sorted(copied["image_id"][40:])
    lesion = copied["lesion_id"][3]
    kept = copied[:40][copied["lesion_id"][:40] != lesion]
    assert part.roles["train"] == sorted(kept["image_id"])
    assert len(part.roles["train"]) == 38


def test_a_collection_is_left_out_of_all_sources_with_the_lesions_that_it_shows(manifest):
    shared = manifest.copy()
    shared["collection"] = None
    shared.loc[[0, 1, 2, 50], "collection"] = "camera a"  # lesion L1 is in rows 2 and 3
    part = _parts(shared, scheme="collections", tested=["camera a"])[0]
    assert part.name == "without-camera-a"
    assert part.roles["test"] == sorted(shared["image_id"][[0, 1, 2, 50]])
    kept = shared[~shared["lesion_id"].isin(["L0", "L1", "L25"])]
    assert part.roles["train"] == sorted(kept["image_id"])
    assert 3 not in kept.index
    assert 51 not in kept.index


def test_images_without_a_collection_are_one_with_their_source(manifest):
    shared = manifest.copy()
    shared["collection"] = ["camera"] * 40 + [None] * 20
    part = _parts(shared, scheme="collections", tested=["two"])[0]
    assert part.roles["test"] == sorted(shared["image_id"][40:])
    with pytest.raises(InputError, match=r"the collection 'one'.*the collections are camera, two"):
        _parts(shared, scheme="collections", tested=["one"])


def test_two_collections_do_not_share_a_folder():
    with pytest.raises(InputError, match="two of the collections would share a folder"):
        part_names(SplitSpec(scheme="collections", tested=("a/b", "a b")))


@pytest.mark.parametrize("source", ["three", "one"])
def test_a_source_that_is_not_there_or_alone(manifest, source):
    with pytest.raises(InputError, match=f"leave out the source '{source}'.*the sources are"):
        _parts(manifest[:40] if source == "one" else manifest, scheme="sources", tested=[source])


@pytest.mark.parametrize(
    ("split", "match"),
    [
        ({"scheme": "cross", "tested": [5]}, r"folds from 0 to 4 in tested, got \[5\]"),
        ({"scheme": "cross", "tested": ["ham10000"]}, "folds from 0 to 4"),
        ({"scheme": "cross", "tested": [1, 1]}, "a part twice"),
        ({"scheme": "cross", "validation": 2}, r"take out \['validation'\]"),
        ({"scheme": "sources"}, "one or more names of sources"),
        ({"scheme": "sources", "tested": [0]}, "names of sources"),
        ({"scheme": "collections"}, "one or more names of collections"),
        ({"scheme": "collections", "tested": [0]}, "names of collections"),
        ({"final": True}, "final need scheme"),
        ({"tested": [0], "final": True}, "final and tested need scheme"),
        ({"scheme": "cross", "final_teachers": "tested"}, "final_teachers = 'tested' needs final = true"),
    ],
)
def test_splits_that_contradict_themselves(split, match):
    with pytest.raises(InputError, match=match):
        parse(SplitSpec, split, "split")


def test_names_are_known_before_there_are_images():
    assert part_names(SplitSpec(scheme="sources", tested=("a", "b"), final=True)) == ["without-a", "without-b", "final"]
    assert part_names(SplitSpec(scheme="cross")) == [f"fold-{fold}" for fold in range(5)]


def test_row_order_does_not_matter(manifest):
    shuffled = manifest.sample(frac=1, random_state=1).reset_index(drop=True)
    ours, theirs = (_parts(table, scheme="sources", tested=["one"])[0] for table in (manifest, shuffled))
    assert ours == theirs

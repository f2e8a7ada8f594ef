"""What words mean, and what may not be left out."""

import pytest

from dermdistill.data.importing.datasets import import_dataset
from dermdistill.data.importing.own import Own
from dermdistill.data.sources import diagnosis, may_be_melanoma
from dermdistill.errors import InputError


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("Malignant_Melanoma", "mel"), ("MEL", "mel"), ("Melanomas", "mel"), ("01_melanoma", "mel"),
        ("melanoma-in-situ", "mel"), ("MalignantMelanoma", "mel"), ("melanoma (less than 0.76 mm)", "mel"),
        ("nodular-melanoma-(nm)", "mel"), ("Melanoma Invasive, Superficial spreading", "mel"),
        ("Malignant melanocytic proliferations (Melanoma)", "mel"),
        ("Nevi", "nv"), ("NEV", "nv"), ("Naevi", "nv"), ("Melanocytic_Nevi", "nv"),
        ("SEK", "bkl"), ("Seborrhoeic Keratoses", "bkl"), ("Benign-Keratosis-like lesions", "bkl"),
        ("ACK", "akiec"), ("actinic_keratoses", "akiec"), ("Bowens Disease", "akiec"),
        ("BCC", "bcc"), ("basal_cell_carcinoma", "bcc"), ("BasalCellCarcinomas", "bcc"),
        ("Vascular_Lesions", "vasc"), ("haemangiomas", "vasc"), ("Dermatofibromas", "df"),
        ("non_melanoma", "other"), ("NonMelanoma", "other"),
        ("melanoma?", None), ("suspected melanoma", None), ("melanoma vs nevus", None), ("No Melanoma", "other"),
        ("pseudomelanoma", None), ("malignant", None), ("indeterminate", None),
    ],
)  # fmt: skip
def test_words_as_people_write_them(word, meaning):
    assert diagnosis(word) == meaning


def test_words_that_may_be_melanoma():
    assert all(map(may_be_melanoma, ["malignant", "melonoma", "Suspected_Melanoma", "skin cancer", "MEL?"]))
    assert not any(map(may_be_melanoma, ["unknown", "UNK", "benign", "melanosis", "wart", "indeterminate"]))


def test_class_folders_as_people_name_them(case):
    manifest = import_dataset(case("class_names")).manifest
    assert sorted(manifest["diagnosis"]) == ["bcc", "mel", "nv", "nv"]


@pytest.fixture
def folders(tmp_path, picture):
    """folders(*names): class folders of one image each."""

    def make(*names):
        for number, name in enumerate(names):
            (tmp_path / name).mkdir(parents=True)
            picture(number).save(tmp_path / name / "a.jpg")
        return tmp_path

    return make


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("name", ["malignant", "melonoma", "suspected_melanoma"])
def test_what_may_be_melanoma_is_never_dropped_as_unknown(folders, name, drop):
    root = folders("melanoma", "nevus", name)
    with pytest.raises(InputError, match=rf"'{name}' may be melanomas.*--melanoma-label") as told:
        import_dataset(root, drop_unknown=drop)
    assert "drop them with" not in str(told.value)
    assert len(import_dataset(root, own=Own(drop_labels=(name,))).manifest) == 2
    assert import_dataset(root, own=Own(melanoma_labels=(name,))).manifest["melanoma"].sum() == 2


def test_dropping_unknown_words_may_not_leave_no_melanoma(folders):
    root = folders("nevus", "MLNM", "unknown")
    with pytest.raises(InputError, match=r"'MLNM' \(1\).*would leave none"):
        import_dataset(root, drop_unknown=True)
    result = import_dataset(root, own=Own(drop_labels=("MLNM",)), drop_unknown=True)
    assert result.dropped == {"label 'MLNM'": 1, "unknown diagnosis 'unknown'": 1}
    assert any("holds no melanoma" in note for note in result.notes)


def test_nothing_is_left_after_dropping(folders):
    with pytest.raises(InputError, match="no image is left; left out were: unknown diagnosis 'unknown'"):
        import_dataset(folders("unknown"), "folders", drop_unknown=True)
    with pytest.raises(InputError, match="no image is left; left out were: label 'nevus'"):
        import_dataset(folders("nevus"), own=Own(drop_labels=("nevus", "unknown")))


def test_a_set_without_a_melanoma_is_named(case, import_command):
    run, _ = import_command(case("no_melanoma") / "mine")
    assert run.exit_code == 0
    assert "holds no melanoma" in run.output


@pytest.fixture
def archive(tmp_path, picture):
    """archive(table): images a, b, … in the archive's layout."""

    def make(text):
        for number in range(len(text.splitlines()) - 1):
            picture(number).save(tmp_path / f"{'abcdefgh'[number]}.jpg")
        (tmp_path / "metadata.csv").write_text(text)
        return tmp_path

    return make


TYPES = (
    "isic_id,image_type,diagnosis_1\na,dermoscopic,Benign\nb,clinical: close-up,Benign\nc,clinical: overview,Benign\n"
    "d,TBP tile: close-up,Benign\ne,RCM: mosaic,Benign\nf,,Benign\n"
)


def test_only_dermoscopic_images_of_the_archive_are_taken(archive):
    root = archive(TYPES)
    result = import_dataset(root)
    assert result.manifest["image_id"].tolist() == ["a", "f"]
    assert result.dropped == {
        f"image type '{kind}'": 1
        for kind in ("clinical: close-up", "clinical: overview", "TBP tile: close-up", "RCM: mosaic")
    }
    assert import_dataset(root, image_types=["clinical"]).manifest["image_id"].tolist() == ["b", "c"]
    assert len(import_dataset(root, image_types=["all"]).manifest) == 6


def test_an_archive_without_dermoscopy_says_what_it_has(archive):
    root = archive("isic_id,image_type,diagnosis_1\na,TBP tile: close-up,Benign\n")
    with pytest.raises(InputError, match=r"no image is of the type dermoscopic; there are 'TBP tile: close-up' \(1\)"):
        import_dataset(root)


def test_any_level_of_the_archives_hierarchy_names_melanoma(archive):
    second = "Malignant melanocytic proliferations (Melanoma)"
    root = archive(
        "isic_id,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,diagnosis_5\n"
        f"a,Malignant,{second},,,\n"
        f"b,Malignant,{second},Melanoma Invasive,\"Melanoma Invasive, On chronically sun-exposed skin\",\n"
        f"c,Malignant,{second},Melanoma in situ,Lentigo,Solar lentigo\n"
        "d,Malignant,Malignant adnexal epithelial proliferations - Follicular,Basal cell carcinoma,BCC of a new kind,\n"
        "e,Benign,Benign melanocytic proliferations,Nevus,Nevus of a new kind,\n"
    )  # fmt: skip
    assert import_dataset(root).manifest["diagnosis"].tolist() == ["mel", "mel", "mel", "bcc", "nv"]


def test_a_hierarchy_that_contradicts_itself_is_not_known(archive):
    root = archive("isic_id,diagnosis_1,diagnosis_3\na,Benign,Melanoma in situ\nb,Malignant,Melanoma in situ\n")
    with pytest.raises(InputError, match="'Melanoma in situ, but Benign'"):
        import_dataset(root)


@pytest.mark.parametrize(
    ("name", "told"), [("minus1", r"got \[-1\]"), ("float", "got float64"), ("text", "got <U2 such as")]
)
def test_dermamnist_labels_are_whole_numbers_of_its_classes(case, name, told):
    with pytest.raises(InputError, match=rf"train_labels must be whole numbers from 0 to 6.*{told}"):
        import_dataset(case("dermamnist_labels") / name)


def test_the_finders_file_beside_dermamnist_is_ignored(case):
    assert len(import_dataset(case("dermamnist_labels") / "apple").manifest) == 9

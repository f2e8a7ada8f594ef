import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.importing.datasets import combine, detect, import_dataset
from dermdistill.data.manifest import read_manifest
from dermdistill.errors import InputError


@pytest.fixture
def dataset(tmp_path, picture):
    """dataset(names, **tables): a folder with images and tables."""

    def make(names, folder="set", suffix=".jpg", **tables):
        root = tmp_path / folder
        (root / "images").mkdir(parents=True)
        for number, name in enumerate(names):
            picture(number).save(root / "images" / f"{name}{suffix}")
        for name, text in tables.items():
            (root / f"{name.replace('__', '-')}.csv").write_text(text)
        return root

    return make


def _diagnoses(result):
    return dict(zip(result.manifest["image_id"], result.manifest["diagnosis"], strict=True))


def test_ham10000(dataset):
    table = (
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
        "L1,a,mel,histo,50,male,back,rosendahl\n"
        "L2,b,nv,follow_up,,unknown,face,\n"
    )
    result = import_dataset(dataset("ab", HAM10000_metadata=table))
    assert _diagnoses(result) == {"a": "mel", "b": "nv"}
    first = result.manifest.iloc[0]
    assert (first["lesion_id"], first["age"], first["sex"], first["site"]) == ("L1", 50, "male", "posterior torso")
    assert (first["source"], first["licence"], first["melanoma"]) == ("ham10000", "CC BY-NC 4.0", 1)
    assert first["collection"] == "rosendahl"
    assert result.manifest[["sex", "collection"]].loc[1].isna().all()
    assert "dx_type" not in result.manifest.columns


def test_isic2016(dataset):
    result = import_dataset(dataset("ab", ISBI2016_ISIC_Part3_Training_GroundTruth="a,benign\nb,malignant\n"))
    assert result.manifest["melanoma"].tolist() == [0, 1]
    assert result.manifest["diagnosis"].isna().tolist() == [True, True]
    numbers = import_dataset(dataset("ab", "test", ISBI2016_ISIC_Part3_Test_GroundTruth="a,0.0\nb,1.0\n"))
    assert numbers.manifest["melanoma"].tolist() == [0, 1]
    root = dataset("a", "other", ISBI2016_ISIC_Part3_Test_GroundTruth="a,perhaps\n")
    with pytest.raises(InputError, match=r"benign or malignant, got \['perhaps'\]"):
        import_dataset(root)


def test_isic2017_with_metadata(dataset):
    truth = "image_id,melanoma,seborrheic_keratosis\na,1.0,0.0\nb,0.0,1.0\nc,0.0,0.0\n"
    meta = "image_id,age_approximate,sex\na,30,female\nb,unknown,male\nc,80,male\n"
    root = dataset("abc", **{"ISIC__2017_Training_Part3_GroundTruth": truth, "ISIC__2017_Training_Data_metadata": meta})
    result = import_dataset(root)
    assert _diagnoses(result) == {"a": "mel", "b": "bkl", "c": "nv"}
    assert result.manifest["age"].isna().tolist() == [False, True, False]


def test_isic2018_with_groupings(dataset):
    truth = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,0,0,0,0,0,0\nb,0,0,0,1,0,0,0\n"
    groups = "image,lesion_id,diagnosis_confirm_type\na,HAM_1,histo\nb,HAM_2,histo\n"
    root = dataset("ab", ISIC2018_Task3_Training_GroundTruth=truth, ISIC2018_Task3_Training_LesionGroupings=groups)
    result = import_dataset(root)
    assert _diagnoses(result) == {"a": "mel", "b": "akiec"}
    assert result.manifest["lesion_id"].tolist() == ["HAM_1", "HAM_2"]


def test_isic2019_invasive_carcinoma_is_none_of_the_seven(dataset):
    truth = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\na,0,0,0,1,0,0,0,0,0\nb,0,0,0,0,0,0,0,1,0\nc,0,0,0,0,0,0,0,0,1\n"
    root = dataset("abc", ISIC_2019_Training_GroundTruth=truth)
    with pytest.raises(InputError, match=r"'UNK' \(1\)"):
        import_dataset(root)
    result = import_dataset(root, drop_unknown=True)
    assert result.manifest["diagnosis"].tolist()[0] == "akiec"
    assert result.manifest["diagnosis"].isna().tolist() == [False, True]
    assert result.manifest["melanoma"].tolist() == [0, 0]
    assert sum(result.dropped.values()) == 1


def test_isic2019_with_metadata(dataset):
    truth = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\na,1.0,0,0,0,0,0,0,0,0\nb,0,1.0,0,0,0,0,0,0,0\n"
    meta = "image,age_approx,anatom_site_general,lesion_id,sex\nb,30,anterior torso,BCN_1,male\na,85,,,female\n"
    root = dataset("ab", ISIC_2019_Training_GroundTruth=truth, ISIC_2019_Training_Metadata=meta)
    table = import_dataset(root).manifest
    assert table["age"].tolist() == [85, 30]
    assert table["lesion_id"].fillna("").tolist() == ["", "BCN_1"]
    assert table["site"].fillna("").tolist() == ["", "anterior torso"]


@pytest.mark.parametrize("row", ["1,1,0,0,0,0,0", "0,0,0,0,0,0,0"])
def test_one_hot_rows_have_one_class(dataset, row):
    root = dataset("a", ISIC2018_Task3_Test_GroundTruth=f"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,{row}\n")
    with pytest.raises(InputError, match="1 rows do not have exactly one 1"):
        import_dataset(root)


def test_tables_may_lie_where_the_archives_put_them(dataset):
    """ISIC 2018's ground truth is unpacked into a folder of its own, ISIC 2017's metadata among the images."""
    truth = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,0,0,0,0,0,0\nb,0,1,0,0,0,0,0\n"
    root = dataset("ab")
    (root / "ISIC2018_Task3_Training_GroundTruth").mkdir()
    (root / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(truth)
    assert detect(root) == "isic2018"
    assert _diagnoses(import_dataset(root)) == {"a": "mel", "b": "nv"}
    (root / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(truth)
    assert len(import_dataset(root).manifest) == 2, "the same rows in two files are the same images"

    truth = "image_id,melanoma,seborrheic_keratosis\na,1.0,0.0\n"
    root = dataset("a", "2017", **{"ISIC__2017_Training_Part3_GroundTruth": truth})
    meta = "image_id,age_approximate,sex\na,30,female\n"
    (root / "images" / "ISIC-2017_Training_Data_metadata.csv").write_text(meta)
    assert import_dataset(root).manifest["age"].tolist() == [30]


def test_isic2020_in_two_versions(dataset):
    """Version 2 has lesions besides; both files together are one data set."""
    first = "image_name,patient_id,diagnosis,benign_malignant,target\na,P1,nevus,benign,0\n"
    second = "image_name,patient_id,lesion_id,diagnosis,benign_malignant,target\na,P1,L1,nevus,benign,0\n"
    root = dataset("a", ISIC_2020_Training_GroundTruth=first, ISIC_2020_Training_GroundTruth_v2=second)
    assert import_dataset(root).manifest["lesion_id"].tolist() == ["L1"]


def test_isic2020(dataset):
    text = (
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
        "a,P1,male,45,torso,unknown,benign,0\nb,P2,female,50,palms/soles,melanoma,malignant,1\nc,P1,male,45,,nevus,benign,0\n"
    )
    result = import_dataset(dataset("abc", train=text))
    assert result.manifest["melanoma"].tolist() == [0, 1, 0]
    assert result.manifest["patient_id"].tolist() == ["P1", "P2", "P1"]
    assert result.manifest["diagnosis"].tolist()[1:] == ["mel", "nv"]


def test_isic2024_needs_the_diagnosis(dataset):
    root = dataset("ab", **{"train__metadata": "isic_id,target,patient_id\na,1,P1\nb,0,P2\n"})
    with pytest.raises(InputError, match="target means malignant"):
        import_dataset(root)
    text = (
        "isic_id,target,patient_id,iddx_full,iddx_1,iddx_3\n"
        "a,1,P1,Malignant::Melanocytic::Melanoma in situ,Malignant,Melanoma in situ\nb,0,P2,Benign,Benign,\n"
    )
    (root / "train-metadata.csv").write_text(text)
    assert import_dataset(root).manifest["melanoma"].tolist() == [1, 0]


def test_isic2024_of_the_challenge_page(dataset):
    """Ground truth and supplement beside the images' folder, patients in the metadata.csv within it."""
    root = dataset("abc", ISIC_2024_Training_GroundTruth="isic_id,malignant\na,1.0\nb,1.0\nc,0.0\n")
    meta = (
        "isic_id,patient_id,age_approx,sex,anatom_site_general\na,P1,60,male,head/neck\nb,P2,,female,\nc,P1,60,male,\n"
    )
    (root / "images" / "metadata.csv").write_text(meta)
    with pytest.raises(InputError, match=r"need not be melanoma.*ISIC_2024_Training_Supplement\.csv"):
        import_dataset(root)
    (root / "ISIC_2024_Training_Supplement.csv").write_text(
        "isic_id,copyright_license,lesion_id,iddx_full,iddx_1,iddx_2,iddx_3\n"
        "a,CC-BY,L1,Malignant::Melanocytic::Melanoma Invasive,Malignant,Melanocytic,Melanoma Invasive\n"
        'b,CC-0,L2,"Malignant::Adnexal::Basal cell carcinoma, Nodular",Malignant,Adnexal,Basal cell carcinoma\n'
        "c,CC-BY,,Benign,Benign,,\n"
    )
    table = import_dataset(root).manifest
    assert table["source"].unique().tolist() == ["isic2024"]
    assert table["diagnosis"].fillna("").tolist() == ["mel", "bcc", ""]
    assert table["melanoma"].tolist() == [1, 0, 0]
    assert table["patient_id"].tolist() == ["P1", "P2", "P1"]
    assert table["lesion_id"].fillna("").tolist() == ["L1", "L2", ""]
    assert table["licence"].tolist() == ["CC-BY", "CC-0", "CC-BY"]


def test_tables_that_do_not_fit_are_named(dataset):
    root = dataset("a", **{"ISIC__2017_Training_Part3_GroundTruth": "image_id,melanoma\na,1\n"})
    with pytest.raises(InputError, match=r"layout 'isic2017' lacks the column 'seborrheic_keratosis'"):
        import_dataset(root)
    root = dataset("a", "other", train="image_name,target\na,perhaps\n")
    with pytest.raises(InputError, match=r"does not fit the layout 'isic2020'.*perhaps"):
        import_dataset(root)
    root = dataset("a", "twice", HAM10000_metadata="lesion_id,image_id,dx\nL1,a,mel\nL2,a,nv\n")
    with pytest.raises(InputError, match=r"1 image ids stand in more than one row, with different contents, e\.g\. a"):
        import_dataset(root)


def test_ham10000_as_dataverse_serves_it(dataset):
    root = dataset("ab")
    (root / "HAM10000_metadata.tab").write_text('lesion_id\timage_id\tdx\n"L1"\t"a"\t"mel"\n"L2"\t"b"\t"nv"\n')
    assert _diagnoses(import_dataset(root)) == {"a": "mel", "b": "nv"}


@pytest.mark.parametrize(
    "text",
    [
        "isic_id,diagnosis_1,diagnosis_2,diagnosis_3\n"
        "a,Malignant,Malignant melanocytic,Melanoma NOS\nb,Benign,Benign x,Nevus\n",
        "isic_id,diagnosis,benign_malignant,age_approx\na,melanoma,malignant,30\nb,nevus,benign,40\n",
    ],
)
def test_archive_downloads_of_two_ages(dataset, text):
    root = dataset("ab", metadata=text)
    assert detect(root) == "isic-archive"
    assert _diagnoses(import_dataset(root)) == {"a": "mel", "b": "nv"}


def test_the_archive_names_the_clinic(dataset):
    text = "isic_id,attribution,diagnosis\na,Clinic A,melanoma\nb,,nevus\n"
    clinic = import_dataset(dataset("ab", metadata=text)).manifest["collection"]
    assert clinic[0] == "Clinic A"
    assert clinic.isna().tolist() == [False, True]


def test_class_folders(tmp_path, picture):
    for part, name in (("train", "melanoma"), ("train", "nevus"), ("test", "nevus")):
        (tmp_path / part / name).mkdir(parents=True)
        picture(len(part + name)).save(tmp_path / part / name / "1.png")
    result = import_dataset(tmp_path)
    assert _diagnoses(result) == {"train_melanoma_1": "mel", "train_nevus_1": "nv", "test_nevus_1": "nv"}


def test_the_papers_arrays(tmp_path):
    generator = np.random.default_rng(0)
    for name, count in {"benign_train": 3, "malign_train": 2, "benign_test": 1, "malign_test": 1}.items():
        np.save(tmp_path / f"{name}.npy", generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
    result = import_dataset(tmp_path)
    assert len(result.manifest) == 7
    assert int(result.manifest["melanoma"].sum()) == 3
    assert result.manifest["image_id"].str.startswith("test_").sum() == 2
    assert len(import_dataset(tmp_path).manifest) == 7


def test_the_papers_arrays_of_floats_and_arrays_that_were_replaced(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "benign_train.npy", pixels[:1].astype(np.float32) / 255)
    np.save(tmp_path / "malign_train.npy", pixels[1:].astype(np.float64))

    def images():
        paths = import_dataset(tmp_path).manifest["path"]
        return np.stack([np.asarray(Image.open(path)) for path in paths])

    assert np.array_equal(images(), pixels)
    np.save(tmp_path / "benign_train.npy", 255 - pixels[:1])
    assert np.array_equal(images(), np.stack([255 - pixels[0], pixels[1]]))
    np.save(tmp_path / "benign_train.npy", pixels[0])
    with pytest.raises(InputError, match=r"expected N x H x W x 3, got \(32, 32, 3\)"):
        import_dataset(tmp_path)


def test_dermamnist(tmp_path):
    arrays = {}
    for part, count in (("train", 7), ("val", 2), ("test", 2)):
        arrays[f"{part}_images"] = np.random.default_rng(count).integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count)[:, None] % 7
    np.savez(tmp_path / "dermamnist.npz", **arrays)
    found = _diagnoses(import_dataset(tmp_path))
    assert found["train_000004"] == "mel"
    assert found["train_000005"] == "nv"
    assert len(found) == 11


def test_bad_images_are_set_aside_and_unknown_words_listed(dataset):
    table = "lesion_id,image_id,dx\nL1,a,mel\nL2,b,nv\nL3,gone,nv\n"
    root = dataset("ab", HAM10000_metadata=table)
    (root / "images" / "b.jpg").write_bytes(b"no image")
    result = import_dataset(root)
    assert result.manifest["image_id"].tolist() == ["a"]
    assert {name for name, _ in result.set_aside} == {"b", "gone"}
    (root / "HAM10000_metadata.csv").write_text(table.replace("mel", "mole"))
    with pytest.raises(InputError, match=r"'mole' \(1\).*--drop-unknown"):
        import_dataset(root)


def test_sources_are_combined(dataset):
    one = import_dataset(dataset("ab", "one", HAM10000_metadata="lesion_id,image_id,dx\nL1,a,mel\nL2,b,nv\n"))
    both = combine([one, one])
    assert len(both.manifest) == 2
    assert both.dropped == {"in two sources": 2}
    other = dataset("ca", "other", HAM10000_metadata="lesion_id,image_id,dx\nL1,a,mel\nL2,c,nv\n")
    with pytest.raises(InputError, match=r"1 image ids stand for different images.*a"):
        combine([one, import_dataset(other)])


def test_an_image_of_two_sources_keeps_its_diagnosis_and_a_disputed_one_is_set_aside(dataset):
    """ISIC 2016 knows benign or malignant alone, HAM10000 the diagnosis; on c they contradict each other."""
    first = dataset("abc", "one", ISBI2016_ISIC_Part3_Training_GroundTruth="a,benign\nb,malignant\nc,malignant\n")
    table = "lesion_id,image_id,dx\nL1,a,bkl\nL2,b,mel\nL3,c,nv\n"
    results = [import_dataset(first), import_dataset(dataset("abc", "two", HAM10000_metadata=table))]
    for order in (results, results[::-1]):
        both = combine(order)
        assert _diagnoses(both) == {"a": "bkl", "b": "mel"}
        assert both.manifest["source"].unique().tolist() == ["ham10000"]
        assert both.dropped == {"in two sources": 2}
        ((name, reason),) = both.set_aside
        assert name == "c"
        assert reason.startswith("melanoma in one source, not in another: ")
        assert {"ham10000", "isic2016"} == set(reason.split(": ")[1].split(", "))


def test_a_folder_without_a_layout_is_refused(tmp_path):
    with pytest.raises(InputError, match="none of the known layouts"):
        detect(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        detect(tmp_path / "none")


def test_the_command_and_check(dataset, picture):
    root = dataset("abc", HAM10000_metadata="lesion_id,image_id,dx\nL1,a,mel\nL1,b,nv\nL2,c,nv\n")
    manifest = root / "m.csv"
    run = CliRunner().invoke(app, ["data", "import", str(root), "--out", str(manifest)])
    assert run.exit_code == 0, run.output
    assert CliRunner().invoke(app, ["data", "show", str(manifest)]).exit_code == 0
    run = CliRunner().invoke(app, ["data", "check", str(manifest), "--out", str(root / "clean.csv")])
    assert run.exit_code == 1
    assert "2 conflicting_labels" in run.output
    assert read_manifest(root / "clean.csv")["image_id"].tolist() == ["c"]


@pytest.mark.real_data
def test_real_images(real_data):
    result = combine([import_dataset(real_data / "ham10000"), import_dataset(real_data / "isic2017")])
    counts = result.manifest.groupby("source")["melanoma"].agg(["size", "sum"])
    assert counts.loc["ham10000"].tolist() == [5971, 490]
    assert counts.loc["isic2017"].tolist() == [2062, 382]
    assert not result.set_aside

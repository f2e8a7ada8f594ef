"""Public sets outside the ISIC challenges, in the columns and folders of their publishers."""

import openpyxl
import pytest
from PIL import Image

from dermdistill.data.importing.datasets import detect, import_dataset
from dermdistill.errors import InputError


@pytest.fixture
def images(tmp_path, picture):
    """images(*paths): pictures beneath the folder."""

    def make(*paths):
        for number, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(tmp_path / path)
        return tmp_path

    return make


def _checked(root, layout, diagnoses):
    assert detect(root) == layout
    result = import_dataset(root)
    assert result.manifest["diagnosis"].fillna("").tolist() == diagnoses
    assert result.manifest["source"].unique().tolist() == [layout]
    return result


def test_pad_ufes_20(images):
    root = images("imgs_part_1/PAT_1_2_3.png", "imgs_part_2/PAT_4_5_6.png", "imgs_part_2/PAT_7_8_9.png")
    (root / "metadata.csv").write_text(
        "patient_id,lesion_id,smoke,age,gender,region,diagnostic,itch,img_id,biopsed\n"
        "PAT_1,2,,55,FEMALE,NECK,MEL,True,PAT_1_2_3.png,True\n"
        "PAT_4,5,False,60,MALE,FOREARM,ACK,False,PAT_4_5_6.png,False\n"
        "PAT_7,8,False,61,MALE,FACE,SCC,False,PAT_7_8_9.png,True\n"
    )
    result = _checked(root, "pad-ufes-20", ["mel", "akiec", ""])
    assert result.manifest["patient_id"].tolist() == ["PAT_1", "PAT_4", "PAT_7"]
    assert result.manifest["site"].tolist() == ["head/neck", "upper extremity", "head/neck"]
    assert result.manifest["sex"].tolist() == ["female", "male", "male"]
    assert any("clinical photographs, not dermoscopic" in note for note in result.notes)


def test_derm7pt_takes_the_dermoscopic_image_of_each_case(images):
    root = images("images/NEL/Nel026.jpg", "images/NEL/NEL027.jpg", "images/Aal/Aal02.jpg", "images/Aal/Aal03.jpg")
    (root / "meta").mkdir()
    (root / "meta" / "meta.csv").write_text(
        "case_num,diagnosis,seven_point_score,location,sex,clinic,derm,case_id\n"
        "1,melanoma (less than 0.76 mm),5,back,male,NEL/NEL027.jpg,NEL/Nel026.jpg,\n"
        "2,miscellaneous,0,head neck,female,Aal/Aal03.jpg,Aal/Aal02.jpg,\n"
    )
    result = _checked(root, "derm7pt", ["", "mel"])
    assert result.manifest["lesion_id"].tolist() == ["2", "1"]
    assert result.manifest["path"].str.endswith("Nel026.jpg").tolist() == [False, True]
    assert result.passed_over == {"images that no row of the tables uses": [str(root / p) for p in (
        "images/Aal/Aal03.jpg", "images/NEL/NEL027.jpg")]}  # fmt: skip


@pytest.mark.parametrize("form", ["xlsx", "txt"])
def test_ph2(images, form):
    root = images(*[f"PH2 Dataset images/{n}/{n}_Dermoscopic_Image/{n}.bmp" for n in ("IMD001", "IMD002", "IMD003")])
    for name in ("IMD001", "IMD002", "IMD003"):
        mask = root / "PH2 Dataset images" / name / f"{name}_lesion" / f"{name}_lesion.bmp"
        mask.parent.mkdir()
        Image.new("1", (96, 96)).save(mask)
    if form == "xlsx":
        book = openpyxl.Workbook()
        for row in (
            ["PH² dataset", None, None, None, None],
            ["Legend", "0 - absent", None, None, None],
            ["Image Name", "Histological\nDiagnosis", "Common\nNevus", "Atypical\nNevus", "Melanoma"],
            ["IMD001", None, "X", None, None],
            ["IMD002", None, None, "X", None],
            ["IMD003", "Melanoma in situ", None, None, "X"],
        ):
            book.active.append(row)
        book.save(root / "PH2_dataset.xlsx")
    else:
        (root / "PH2_dataset.txt").write_text(
            "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||\n"
            "|| IMD001 ||                        ||         0          ||     0     ||\n"
            "|| IMD002 ||                        ||         1          ||     0     ||\n"
            "|| IMD003 || Melanoma in situ       ||         2          ||     2     ||\n\nLegend\n"
        )
    result = _checked(root, "ph2", ["nv", "nv", "mel"])
    assert len(result.passed_over["masks"]) == 3


def test_milk10k_takes_the_dermoscopic_image_of_each_lesion(images):
    paths = [f"MILK10k_Training_Input/IL_000000{n // 2}/ISIC_000000{n}.jpg" for n in range(6)]
    root = images(*paths)
    kinds = ("clinical: close-up", "dermoscopic")
    (root / "MILK10k_Training_Metadata.csv").write_text(
        "lesion_id,image_type,isic_id,attribution,copyright_license,age_approx,sex\n"
        + "".join(f"IL_000000{n // 2},{kinds[n % 2]},ISIC_000000{n},MILK,CC-BY-NC,50,male\n" for n in range(6))
    )
    with pytest.raises(InputError, match=r"not MILK10k_Training_GroundTruth\.csv, its diagnoses"):
        import_dataset(root)
    (root / "MILK10k_Training_GroundTruth.csv").write_text(
        "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\n"
        "IL_0000000,0.0,0,0,0,0,0,0,1.0,0,0,0\nIL_0000001,0,0,0,0,0,0,1,0,0,0,0\nIL_0000002,0,0,0,0,0,0,0,0,1,0,0\n"
    )
    result = _checked(root, "milk10k", ["mel", "", "nv"])
    assert result.manifest["image_id"].tolist() == ["ISIC_0000001", "ISIC_0000003", "ISIC_0000005"]
    assert result.manifest["lesion_id"].tolist() == ["IL_0000000", "IL_0000001", "IL_0000002"]
    assert result.dropped == {"image type 'clinical: close-up'": 3}


def test_fitzpatrick17k(images):
    root = images("images/aa.jpg", "images/bb.jpg", "images/cc.jpg")
    (root / "fitzpatrick17k.csv").write_text(
        "md5hash,fitzpatrick_scale,label,nine_partition_label,three_partition_label,qc,url\n"
        "aa,2,superficial spreading melanoma ssm,malignant melanoma,malignant,,http://x\n"
        "bb,3,psoriasis,inflammatory,non-neoplastic,,http://x\n"
        "cc,3,basal cell carcinoma,malignant epidermal,malignant,,http://x\n"
    )
    result = _checked(root, "fitzpatrick17k", ["mel", "", "bcc"])
    assert result.manifest["melanoma"].tolist() == [1, 0, 0]
    assert any("clinical photographs" in note for note in result.notes)


def test_ddi(images):
    root = images("images/000001.png", "images/000002.png", "images/000003.png")
    (root / "ddi_metadata.csv").write_text(
        ",DDI_ID,DDI_file,skin_tone,malignant,disease\n"
        "0,1,000001.png,56,True,melanoma-in-situ\n1,2,000002.png,12,True,mycosis-fungoides\n"
        "2,3,000003.png,34,False,epidermal-cyst\n"
    )
    result = _checked(root, "ddi", ["mel", "", ""])
    assert result.manifest["melanoma"].tolist() == [1, 0, 0]
    (root / "ddi_metadata.csv").write_text(
        "DDI_file,malignant,disease\n000001.png,True,a-new-malignancy\n000002.png,True,melanoma\n"
    )
    with pytest.raises(InputError, match=r"'a-new-malignancy' \(1\)"):
        import_dataset(root)

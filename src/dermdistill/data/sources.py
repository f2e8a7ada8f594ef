"""The visible tables: what each source calls a diagnosis or a site, its licence and its citation."""

from dataclasses import dataclass

from dermdistill.classes import CLASSES

OTHER = "other"
"""Known not to be melanoma, but none of the seven classes: the diagnosis is left open, melanoma is 0."""

DIAGNOSES: dict[str, str] = {
    **{name: name for name in CLASSES},
    # one-hot columns of the ISIC 2018 and 2019 challenges
    "ak": "akiec",
    "scc": OTHER,  # invasive; HAM10000's akiec holds only actinic keratoses and intraepithelial carcinomas
    # ISIC archive, challenge tables and folder names, lower case
    "melanoma": "mel",
    "melanoma, nos": "mel",
    "melanoma nos": "mel",
    "melanoma in situ": "mel",
    "melanoma invasive": "mel",
    "melanoma metastasis": "mel",
    "melanoma, acral lentiginous": "mel",
    "lentigo maligna": "mel",
    "lentigo maligna melanoma": "mel",
    "nodular melanoma": "mel",
    "superficial spreading melanoma": "mel",
    "nevus": "nv",
    "naevus": "nv",
    "melanocytic nevus": "nv",
    "melanocytic nevi": "nv",
    "blue nevus": "nv",
    "nevus spilus": "nv",
    "spitz nevus": "nv",
    "congenital nevus": "nv",
    "dysplastic nevus": "nv",
    "atypical nevus": "nv",
    "common nevus": "nv",
    "nevus, nos": "nv",
    "nevus, atypical, dysplastic, or clark": "nv",
    "nevus, congenital": "nv",
    "nevus, spitz": "nv",
    "nevus, reed": "nv",
    "nevus, combined": "nv",
    "nevus, recurrent or persistent": "nv",
    "nevus, balloon cell": "nv",
    "basal cell carcinoma": "bcc",
    "basal cell carcinoma, nodular": "bcc",
    "basal cell carcinoma, superficial": "bcc",
    "basal cell carcinoma, nos": "bcc",
    "actinic keratosis": "akiec",
    "actinic keratoses": "akiec",
    "solar or actinic keratosis": "akiec",
    "bowen's disease": "akiec",
    "bowen disease": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    "squamous cell carcinoma in situ, bowen's disease": "akiec",
    "squamous cell carcinoma, in situ": "akiec",
    "squamous cell carcinoma": OTHER,
    "squamous cell carcinoma, nos": OTHER,
    "squamous cell carcinoma, invasive": OTHER,
    "seborrheic keratosis": "bkl",
    "seborrheic_keratosis": "bkl",
    "solar lentigo": "bkl",
    "lentigo nos": "bkl",
    "lentigo simplex": "bkl",
    "lentigo": "bkl",
    "ink-spot lentigo": "bkl",
    "pigmented benign keratosis": "bkl",
    "lichenoid keratosis": "bkl",
    "lichen planus like keratosis": "bkl",
    "lichen planus-like keratosis": "bkl",
    "benign keratosis": "bkl",
    "benign keratosis-like lesions": "bkl",
    "dermatofibroma": "df",
    "vascular lesion": "vasc",
    "angioma": "vasc",
    "hemangioma": "vasc",
    "hemangioma, nos": "vasc",
    "cherry angioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
    # not melanoma, and none of the seven
    "benign": OTHER,
    "verruca": OTHER,
    "neurofibroma": OTHER,
    "scar": OTHER,
    "acrochordon": OTHER,
    "cafe-au-lait macule": OTHER,
    "mucosal melanotic macule": OTHER,
    "other": OTHER,
    "non-melanoma": OTHER,
    "not melanoma": OTHER,
}
"""What sources call a diagnosis (lower case, single spaces), and the class that it is here, or `OTHER`.

Not in the table on purpose, and so an error unless dropped: 'unknown', 'indeterminate', 'malignant' alone,
'atypical melanocytic proliferation' and whatever else does not say whether it is a melanoma.
"""

SITES: dict[str, str] = {
    "head/neck": "head/neck",
    "face": "head/neck",
    "scalp": "head/neck",
    "ear": "head/neck",
    "neck": "head/neck",
    "anterior torso": "anterior torso",
    "chest": "anterior torso",
    "abdomen": "anterior torso",
    "posterior torso": "posterior torso",
    "back": "posterior torso",
    "lateral torso": "lateral torso",
    "trunk": "torso",
    "torso": "torso",
    "upper extremity": "upper extremity",
    "hand": "upper extremity",
    "lower extremity": "lower extremity",
    "foot": "lower extremity",
    "palms/soles": "palms/soles",
    "acral": "palms/soles",
    "oral/genital": "oral/genital",
    "genital": "oral/genital",
}
"""Anatomical sites; what is not in the table is left out."""


@dataclass(frozen=True)
class Source:
    """A data set: its licence and how to cite it."""

    licence: str | None
    citation: str


SOURCES: dict[str, Source] = {
    "ham10000": Source("CC BY-NC 4.0", "Tschandl, Rosendahl, Kittler, Sci Data 5 (2018) 180161"),
    "isic2016": Source("CC0-1.0", "Gutman et al., arXiv:1605.01397"),
    "isic2017": Source("CC0-1.0", "Codella et al., arXiv:1710.05006"),
    "isic2018": Source("CC BY-NC 4.0", "Codella et al., arXiv:1902.03368; Tschandl et al., Sci Data 5 (2018) 180161"),
    "isic2019": Source(
        "CC BY-NC 4.0",
        "Tschandl et al., Sci Data 5 (2018) 180161; Codella et al., arXiv:1710.05006; "
        "Combalia et al., arXiv:1908.02288",
    ),
    "isic2020": Source("CC BY-NC 4.0", "Rotemberg et al., Sci Data 8 (2021) 34"),
    "isic2024": Source("CC BY-NC 4.0", "Kurtansky et al., Sci Data 11 (2024) 884"),
    "isic-archive": Source(None, "International Skin Imaging Collaboration; see each image's attribution"),
    "dermamnist": Source(
        "CC BY-NC 4.0", "Yang et al., Sci Data 10 (2023) 41; Tschandl et al., Sci Data 5 (2018) 180161"
    ),
    "folders": Source(None, "yours"),
    "npy": Source(None, "the four arrays of Khan et al., Comput Biol Med 146 (2022) 105581, or yours"),
    "synthetic": Source("CC0-1.0", "generated by dermdistill"),
}
"""Licence of the images (None: each image's own, or not known) and citation, by layout name."""


def diagnosis(word: object) -> str | None:
    """The class of a source's word for a diagnosis, `OTHER`, or None if the table does not know it."""
    return DIAGNOSES.get(" ".join(str(word).strip().lower().split()))


def site(word: object) -> str | None:
    """The anatomical site in the table's words, or None."""
    return SITES.get(" ".join(str(word).strip().lower().split()))

"""The visible tables: what each source calls a diagnosis or a site, its licence and its citation."""

import difflib
import re
from dataclasses import dataclass

from dermdistill.classes import CLASSES, MELANOMA

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
    "malignant melanocytic proliferations (melanoma)": "mel",
    "mm": "mel",
    "alm": "mel",
    "ssm": "mel",
    "lmm": "mel",
    "lentigo maligna": "mel",
    "lentigo maligna melanoma": "mel",
    "nodular melanoma": "mel",
    "superficial spreading melanoma": "mel",
    "nevus": "nv",
    "nev": "nv",
    "melanocytic nevus": "nv",
    "benign nevus": "nv",
    "blue nevus": "nv",
    "nevus spilus": "nv",
    "spitz nevus": "nv",
    "congenital nevus": "nv",
    "dysplastic nevus": "nv",
    "atypical nevus": "nv",
    "common nevus": "nv",
    "clark nevus": "nv",
    "combined nevus": "nv",
    "dermal nevus": "nv",
    "intradermal nevus": "nv",
    "junctional nevus": "nv",
    "compound nevus": "nv",
    "recurrent nevus": "nv",
    "reed nevus": "nv",
    "reed or spitz nevus": "nv",
    "halo nevus": "nv",
    "acral nevus": "nv",
    "acral melanotic nevus": "nv",
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
    "basalioma": "bcc",
    "ack": "akiec",
    "actinic keratosis": "akiec",
    "actinic keratoses and intraepithelial carcinoma": "akiec",
    "actinic keratoses and intraepithelial carcinoma / bowen's disease": "akiec",
    "intraepithelial carcinoma": "akiec",
    "solar or actinic keratosis": "akiec",
    "bowen's disease": "akiec",
    "bowen disease": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    "squamous cell carcinoma in situ, bowen's disease": "akiec",
    "squamous cell carcinoma, in situ": "akiec",
    "squamous cell carcinoma": OTHER,
    "squamous cell carcinoma, nos": OTHER,
    "squamous cell carcinoma, invasive": OTHER,
    "squamous cell carcinoma, keratoacanthoma": OTHER,
    "keratoacanthoma": OTHER,
    "sek": "bkl",
    "sk": "bkl",
    "seborrheic keratosis": "bkl",
    "seborrheic keratosis, irritated": "bkl",
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
    "vl": "vasc",
    "vascular": "vasc",
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
    "wart": OTHER,
    "verruca vulgaris": OTHER,
    "melanosis": OTHER,
    "nmsc": OTHER,
    "non-melanoma skin cancer": OTHER,
    "merkel cell carcinoma": OTHER,
    "sebaceous carcinoma": OTHER,
    "kaposi sarcoma": OTHER,
    "mycosis fungoides": OTHER,
    "subcutaneous t-cell lymphoma": OTHER,
    "leukemia cutis": OTHER,
    "metastatic carcinoma": OTHER,
    "blastic plasmacytoid dendritic cell neoplasm": OTHER,
    # one-hot columns of MILK10k
    "ben_oth": OTHER,
    "inf": OTHER,
    "mal_oth": OTHER,  # malignant, neither melanoma nor one of the named carcinomas
    "sccka": OTHER,
    # the archive's second level, where it excludes melanoma
    "benign melanocytic proliferations": OTHER,
    "benign epidermal proliferations": OTHER,
    "malignant epidermal proliferations": OTHER,
    "malignant adnexal epithelial proliferations - follicular": OTHER,
    "neurofibroma": OTHER,
    "scar": OTHER,
    "acrochordon": OTHER,
    "cafe-au-lait macule": OTHER,
    "café-au-lait macule": OTHER,
    "mucosal melanotic macule": OTHER,
    "other": OTHER,
    "non-melanoma": OTHER,
    "no melanoma": OTHER,
    "not melanoma": OTHER,
}
"""What sources call a diagnosis, and the class that it is here, or `OTHER`.

Case, separators, punctuation, plurals and British spelling do not matter (`diagnosis`).

Not in the table on purpose, and so an error unless dropped: 'unknown', 'indeterminate', 'malignant' alone,
'atypical melanocytic proliferation' and whatever else does not say whether it is a melanoma.
"""

SITES: dict[str, str] = {
    "head/neck": "head/neck",
    "face": "head/neck",
    "scalp": "head/neck",
    "ear": "head/neck",
    "nose": "head/neck",
    "lip": "head/neck",
    "head neck": "head/neck",
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
    "arm": "upper extremity",
    "forearm": "upper extremity",
    "upper limbs": "upper extremity",
    "lower extremity": "lower extremity",
    "foot": "lower extremity",
    "leg": "lower extremity",
    "thigh": "lower extremity",
    "lower limbs": "lower extremity",
    "palms/soles": "palms/soles",
    "acral": "palms/soles",
    "oral/genital": "oral/genital",
    "genital": "oral/genital",
    "genital areas": "oral/genital",
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
    "milk10k": Source("CC BY-NC 4.0", "MILK study team, MILK10k, ISIC archive (2025), doi:10.34970/648456"),
    "pad-ufes-20": Source("CC BY 4.0", "Pacheco et al., Data in Brief 32 (2020) 106221"),
    "derm7pt": Source(None, "Kawahara et al., IEEE J Biomed Health Inform 23 (2019) 538"),
    "ph2": Source(None, "Mendonça et al., EMBC (2013) 5437"),
    "fitzpatrick17k": Source("CC BY-NC-SA 3.0", "Groh et al., CVPR Workshops (2021), arXiv:2104.09957"),
    "ddi": Source(None, "Daneshjou et al., Sci Adv 8 (2022) eabq6147"),
    "table": Source(None, "yours"),
    "folders": Source(None, "yours"),
    "npy": Source(None, "the four arrays of Khan et al., Comput Biol Med 146 (2022) 105581, or yours"),
    "synthetic": Source("CC0-1.0", "generated by dermdistill"),
}
"""Licence of the images (None: each image's own, or not known) and citation, by layout name."""

NAMES: dict[str, dict[str, str]] = {
    "ham10000": {"en": "HAM10000"},
    "ham10000-more": {"en": "HAM10000 (more images)", "de": "HAM10000 (weitere Bilder)"},
    "ham10000-whole": {"en": "HAM10000 (whole frames)", "de": "HAM10000 (ganze Aufnahmen)"},
    "isic2016": {"en": "ISIC 2016"},
    "isic2017": {"en": "ISIC 2017"},
    "isic2018": {"en": "ISIC 2018"},
    "isic2019": {"en": "ISIC 2019"},
    "isic2020": {"en": "ISIC 2020"},
    "isic2024": {"en": "ISIC 2024"},
    "isic-archive": {"en": "ISIC archive", "de": "ISIC-Archiv"},
    "dermamnist": {"en": "DermaMNIST"},
    "milk10k": {"en": "MILK10k"},
    "pad-ufes-20": {"en": "PAD-UFES-20"},
    "derm7pt": {"en": "Derm7pt"},
    "ph2": {"en": "PH²"},
    "fitzpatrick17k": {"en": "Fitzpatrick17k"},
    "ddi": {"en": "DDI"},
    "table": {"en": "images with a table", "de": "Bilder mit einer Tabelle"},
    "folders": {"en": "images in folders", "de": "Bilder in Ordnern"},
    "npy": {"en": "image arrays", "de": "Bilder als Arrays"},
    "synthetic": {"en": "generated images", "de": "erzeugte Bilder"},
}
"""What people read where a source is named, by language: those of `SOURCES`, and parts of them in recipes."""


def source_name(name: str, language: str = "en") -> str:
    """What people read where a source is named: in a language, else in English, else the source's own name."""
    known = NAMES.get(name, {})
    return known.get(language) or known.get("en") or name


_SINGULAR = {
    "nevi": "nevus", "naevus": "nevus", "naevi": "nevus", "nevuses": "nevus", "lentigines": "lentigo",
    "verrucae": "verruca", "seborrhoeic": "seborrheic", "seborrhoic": "seborrheic", "haemangioma": "hemangioma",
    "tumour": "tumor", "metastatic": "metastasis", "metastases": "metastasis", "insitu": "in situ",
    "carcinomae": "carcinoma", "carcinomata": "carcinoma",
}  # fmt: skip
_KEEPS_ITS_S = re.compile(r"(us|is|ss|nos)$")
_MELANOMA = frozenset({
    "melanoma", "malignant", "invasive", "in", "situ", "mis", "nos", "metastasis", "nodular", "superficial",
    "spreading", "acral", "lentiginous", "lentigo", "maligna", "amelanotic", "desmoplastic", "spitzoid", "nevoid",
    "cutaneous", "skin", "mucosal", "subungual", "primary", "type", "thin", "thick", "early", "advanced", "cancer",
    "less", "more", "than", "to", "mm", "ssm", "alm", "lmm", "nm", "melanocytic", "proliferation",
})  # fmt: skip
"""Words that may stand beside 'melanoma' and leave it one."""
_UNDECIDED = frozenset(
    {"", "empty", "unknown", "unk", "na", "n a", "none", "nan", "null", "undetermined", "unclear", "unlabeled",
     "unlabelled", "not available", "missing", "uncertain", "atypical melanocytic proliferation"}
)  # fmt: skip
_NUMBER = re.compile(r"\d+([.,]\d+)?")


def _key(word: object) -> str:
    """A word for a diagnosis as it is compared: lower case, words in the singular, single spaces between them."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(word).strip())
    text = re.sub(r"['’´`]", "", spaced.lower())
    parts = re.findall(r"\d+(?:[.,]\d+)?|[^\W\d_]+", text)
    parts = [_SINGULAR.get(part, part) for part in parts if part != "and"]
    whole = [
        part.replace("keratoses", "keratosis")
        if _KEEPS_ITS_S.search(part) or len(part) < 4
        else re.sub(r"keratose$", "keratosis", part.removesuffix("s"))
        for part in parts
    ]
    return " ".join(_SINGULAR.get(part, part) for part in whole)


_BY_KEY = {_key(word): meaning for word, meaning in DIAGNOSES.items()}
_BY_JOINED_KEY = {key.replace(" ", ""): meaning for key, meaning in _BY_KEY.items()}


def diagnosis(word: object) -> str | None:
    """The class of a source's word for a diagnosis, `OTHER`, or None if the table does not know it.

    Besides the table's words, 'melanoma' with a kind, site or thickness of melanoma is one, as in "Melanoma (0.76 to
    1.5 mm)"; with any other word it is not known. A number before a known word, as in '01_nevus', is left out.
    """
    if "?" in str(word):
        return None
    key = _key(word)
    bare = re.sub(r"^\d+ (?=\D)", "", key)
    for one in (key, bare):
        meaning = _BY_KEY.get(one) or _BY_JOINED_KEY.get(one.replace(" ", ""))
        if meaning:
            return meaning
    words = bare.split()
    if "melanoma" in words and all(one in _MELANOMA or _NUMBER.fullmatch(one) for one in words):
        return MELANOMA
    return None


def may_be_melanoma(word: object) -> bool:
    """Whether a word that `diagnosis` does not know sounds like melanoma, or says malignant without saying what."""
    parts = _key(word).split()
    return any(
        re.search(r"melanom|malign|cancer", part)
        or part in ("mel", "mm", "mal", "positive", "pos")
        or difflib.SequenceMatcher(None, part, "melanoma").ratio() >= 0.75
        for part in parts
    )


def is_undecided(word: str) -> bool:
    """Whether a word says that the diagnosis is not known."""
    return _key(word) in _UNDECIDED or _key(word).startswith("indeterminate")


def site(word: object) -> str | None:
    """The anatomical site in the table's words, or None."""
    return SITES.get(" ".join(str(word).strip().lower().split()))

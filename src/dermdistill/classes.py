"""The diagnoses that dermdistill knows, in HAM10000's vocabulary and alphabetical order.

Source: Tschandl, Rosendahl, Kittler, "The HAM10000 dataset", Scientific Data 5 (2018) 180161.
"""

CLASSES: tuple[str, ...] = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

CLASS_NAMES: dict[str, str] = {
    "akiec": "actinic keratosis / intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesion",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}

MELANOMA = "mel"

BINARY_CLASSES: tuple[str, ...] = ("other", MELANOMA)
"""The classes of a model that only tells melanoma from everything else."""

DISCLAIMER = "Research tool, not a medical device: never use it to diagnose or treat anybody."

"""The numbers that Khan et al. 2022 published: Table 2 of the paper, and what the notebooks printed."""

from dataclasses import dataclass

SOURCE = "Khan et al., Computers in Biology and Medicine 146 (2022) 105581, Table 2, and the published notebooks"

COUNTS = {"train_benign": 3500, "train_malignant": 3496, "test_benign": 1500, "test_malignant": 1500}
"""Images of the four arrays."""

TRAINING_ROWS = 5596
"""Images left to train on once 20 % were set apart for validation, as the notebooks print."""


@dataclass(frozen=True)
class Published:
    """One line of Table 2."""

    parameters: int
    """As Keras counts them, of the network with its head."""
    training_seconds: float
    prediction_seconds: float
    """For 3,000 images."""
    accuracy: float


TABLE_2: dict[str, Published] = {
    "resnet101": Published(42_670_466, 1972, 14.55, 0.996),
    "resnet50": Published(23_600_002, 1165, 8.28, 0.994),
    "inceptionv3": Published(21_815_074, 896, 10.26, 0.995),
    "vgg16": Published(14_717_762, 664, 20.49, 0.998),
    "efficientnetb0": Published(4_057_253, 1070, 4.98, 0.820),
    "mobilenet": Published(3_235_010, 660, 5.14, 0.985),
    "dsnet": Published(268_898, 340, 2.57, 0.917),
}
"""Parameter counts are those that the notebooks print; the paper's table rounds them."""

TEMPERATURE_ACCURACY: dict[float, float] = {
    3: 0.8287, 5: 0.8507, 7: 0.8967, 10: 0.9173, 20: 0.8427, 70: 0.8987, 90: 0.8660, 100: 0.7723,
}  # fmt: skip
"""Test accuracy that each temperature's notebook prints for DSNet, to four places."""

BATCH_ACCURACY: dict[int, float] = {64: 0.9173}
"""Test accuracy by batch size; of 18, 32 and 96 no figure is known to us."""

"""DSNet, the student of Khan et al., Computers in Biology and Medicine 146 (2022) 105581.

Few parameters (268,898 with two classes at 224 px), 64 % of them in the dense layer, but much work:
1.1 billion multiply-accumulates.
"""

from torch import Tensor, nn

from dermdistill.errors import InputError


class DSNet(nn.Module):
    """Three valid 3x3 convolutions (128, 64, 32), two max-poolings, dropout 0.25, one dense layer.

    Args:
        num_classes: outputs; the paper's student has 2.
        image_size: side of the input in pixels; the dense layer's size follows from it.
    """

    def __init__(self, num_classes: int = 2, image_size: int = 224):
        super().__init__()
        side = ((image_size - 2) // 2 - 2) // 2 - 2
        if side < 1:
            raise InputError(f"DSNet needs images of at least 18 px, got {image_size}")
        self.image_size = image_size
        self.features = nn.Sequential(
            nn.Conv2d(3, 128, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(128, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 32, 3), nn.ReLU(),
        )  # fmt: skip
        dense = nn.Linear(32 * side * side, num_classes)
        self.classifier = nn.Sequential(nn.Dropout(0.25), nn.Flatten(), dense)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of images [N, 3, S, S]."""
        return self.classifier(self.features(images))

"""RepDS: a depthwise-separable student of 0.25 million parameters and 30 million MACs at 128 px.

Every unit is a plain convolution, a BatchNorm and a ReLU, each a module of its own, so that BatchNorm can be
folded (`dermdistill.networks.cost.fuse`), branches added and merged later, and the net quantised.
"""

from torch import Tensor, nn

_STAGES = (
    # channels, stride, kernel, blocks
    (32, 1, 3, 1),
    (48, 2, 3, 2),
    (96, 2, 3, 5),
    (192, 2, 5, 5),
)


def conv_unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU; the output's side is the input's divided by the stride, rounded up."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class RepDS(nn.Module):
    """Stem 3x3/2 16, depthwise-separable 32, 2x48, 5x96, 5x192 (5x5), average pooling, dense.

    Args:
        num_classes: outputs.
        drop_rate: dropout before the dense layer.
    """

    def __init__(self, num_classes: int = 7, drop_rate: float = 0.1):
        super().__init__()
        width, units = 16, [conv_unit(3, 16, 3, 2)]
        for channels, stride, kernel, blocks in _STAGES:
            for block in range(blocks):
                units.append(conv_unit(width, width, kernel, stride if block == 0 else 1, groups=width))
                units.append(conv_unit(width, channels, 1))
                width = channels
        self.features = nn.Sequential(*units)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(width, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al. 2015, equation 14; torch's own counts all channels of a depthwise convolution
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of normalised images [N, 3, S, S]."""
        return self.classifier(self.pool(self.features(images)))

"""The calibrations of `dermdistill.probabilities` as torch modules, from which graphs are made.

They are made of few operators, which every converter knows. 1 - p is summed from the other classes, whose digits
float32 keeps where p is near 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dermdistill.probabilities import FLOOR, Beta, Calibration, Dirichlet, Isotonic, Temperature, Vector

_NEVER = -1e4
"""Added to the logit of a class that is to get no share; float16 holds it."""


def calibrated(calibration: Calibration, classes: int, melanoma: int) -> nn.Module:
    """What gives calibrated probabilities [N, C] of logits [N, C].

    Args:
        calibration: that fits so many classes.
        classes: C.
        melanoma: the index of melanoma.
    """
    if isinstance(calibration, Temperature):
        return _Scaled((1 / calibration.temperature,) * classes, (0.0,) * classes)
    if isinstance(calibration, Vector):
        return _Scaled(calibration.scale, calibration.intercept)
    if isinstance(calibration, Dirichlet):
        return _Mixed(calibration)
    return _OfMelanoma(
        _Ramps(calibration) if isinstance(calibration, Isotonic) else _Beta(calibration), classes, melanoma
    )


class _Numbers(nn.Module):
    """Constants that are no weights: a state_dict does not hold them."""

    def __init__(self, **numbers: object):
        super().__init__()
        for name, value in numbers.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={tensor.tolist()}" for name, tensor in self.named_buffers(recurse=False))


class _Scaled(_Numbers):
    scale: Tensor
    intercept: Tensor

    def __init__(self, scale: Sequence[float], intercept: Sequence[float]):
        super().__init__(scale=scale, intercept=intercept)

    def forward(self, logits: Tensor) -> Tensor:
        return (logits * self.scale + self.intercept).softmax(1)


class _Mixed(_Numbers):
    weights: Tensor
    intercept: Tensor

    def __init__(self, calibration: Dirichlet):
        turned = tuple(zip(*calibration.weights, strict=True))
        super().__init__(weights=turned, intercept=calibration.intercept)

    def forward(self, logits: Tensor) -> Tensor:
        return (logits.log_softmax(1) @ self.weights + self.intercept).softmax(1)


class _Ramps(_Numbers):
    starts: Tensor
    steepness: Tensor
    rises: Tensor
    lowest: Tensor

    def __init__(self, calibration: Isotonic):
        super().__init__(
            starts=calibration.starts, steepness=[1 / width for width in calibration.widths],
            rises=[[rise] for rise in calibration.rises], lowest=[calibration.lowest],
        )  # fmt: skip

    def forward(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        ramps = ((log_p - log_q - self.starts) * self.steepness).clamp(0.0, 1.0)
        return ramps @ self.rises + self.lowest


class _Beta(_Numbers):
    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(self, calibration: Beta):
        super().__init__(a=[calibration.a], b=[calibration.b], c=[calibration.c])

    def forward(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (log_p * self.a - log_q * self.b + self.c).sigmoid()


class _OfMelanoma(_Numbers):
    """A map of log p and log(1 - p), each [N, 1], to the melanoma probability; the others share the rest as before."""

    chosen: Tensor
    rest: Tensor
    never: Tensor
    melanoma: Tensor

    def __init__(self, inner: nn.Module, classes: int, melanoma: int):
        chosen = [float(place == melanoma) for place in range(classes)]
        super().__init__(
            chosen=[[one] for one in chosen], rest=[[1 - one] for one in chosen],
            never=[one * _NEVER for one in chosen], melanoma=chosen,
        )  # fmt: skip
        self.inner = inner

    def forward(self, logits: Tensor) -> Tensor:
        shares = logits.softmax(1)
        p = self.inner(*(self._log(shares, of) for of in (self.chosen, self.rest)))
        return (logits + self.never).softmax(1) * (1 - p) + self.melanoma * p

    def _log(self, shares: Tensor, of: Tensor) -> Tensor:
        return (shares @ of).log().clamp(min=FLOOR)

"""A task small enough to train in a blink: which side of a plane is a point on?"""

import numpy as np
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def smooth_net():
    """Without BatchNorm and dropout: half a batch gives half of the whole batch's gradient."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


class Toy:
    size = 64

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.points = torch.randn(self.size, 4, generator=generator)
        self.labels = (self.points.sum(1) > 0).long()

    def order(self, seed, epoch):
        return np.random.default_rng([seed, epoch]).permutation(self.size)

    def batch(self, rows, epoch, device):
        return self.points[rows], self.labels[rows]

    def loss(self, model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def score(self, model, device):
        model.eval()
        with torch.no_grad():
            scores = model(self.points)[:, 1] - model(self.points)[:, 0]
        above = scores[self.labels == 1][:, None] > scores[self.labels == 0]  # of each pair of points; none are equal
        return {"auroc": float(above.double().mean())}

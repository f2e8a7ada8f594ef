"""Training images in a device's memory are the same images."""

import numpy as np
import torch

from dermdistill.classes import CLASSES
from dermdistill.training.task import image_sets


def test_images_on_a_device_are_those_of_the_cache(small):
    manifest, _, part, cache = small
    images = image_sets(manifest, part, 32, CLASSES, cache)["train"]
    resident = images.on(torch.device("cpu"))
    which = np.array([7, 0, 7, len(images) - 1])
    assert resident.nbytes == len(images) * 3 * 64 * 64
    assert torch.equal(resident.pixels(which), images.pixels(which))
    assert resident.pixels(which).data_ptr() != resident.resident.data_ptr()

"""How networks are trained: schedules and losses. No torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dermdistill.specs import Strict


class TrainSpec(Strict):
    """How a network is trained; shared by teachers and students."""

    epochs: int = Field(10, ge=1)
    """Passes over the training images; each shows one view."""
    batch_size: int = Field(64, ge=2)
    """Images a step, over all devices together."""
    optimizer: Literal["adamw", "adam", "sgd", "adadelta"] = "adamw"
    """`sgd` has Nesterov momentum of 0.9."""
    learning_rate: float = Field(5e-4, gt=0)
    """Largest learning rate."""
    weight_decay: float = Field(0.01, ge=0)
    """Not applied to biases and normalisation layers."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: to zero along a cosine, or constant."""
    warmup_epochs: float = Field(0.5, ge=0)
    """Epochs of linear warm-up."""
    ema: float = Field(0.998, ge=0, lt=1)
    """Decay of the averaged weights, the ones that are validated and kept; 0 averages nothing."""
    clip: float = Field(5.0, ge=0)
    """Largest gradient norm; 0 clips nothing."""
    mixup: float = Field(0.0, ge=0, exclude_if=lambda value: value == 0)
    """Blend each image and its target with another of the batch, in shares from Beta(mixup, mixup) (Zhang et al. 2018);
    0 blends nothing."""
    balance: Literal["none", "sampler", "weights"] = "none"
    """Class imbalance: draw rare classes more often (`sampler`), or weigh their loss (`weights`), by the square root of
    the inverse frequency. `none` leaves the probabilities at the prevalence of the data."""
    epoch_of: Literal["image", "photograph", "lesion"] = "image"
    """What an epoch shows once: each image, or of each photograph or lesion one image, drawn anew in each epoch.
    Renderings of one photograph of the ISIC archive count as one photograph. An image whose lesion is unknown counts by
    its photograph, else by itself. Not with `balance = "sampler"`."""
    patience: int | None = Field(None, ge=1)
    """End after so many epochs without a better validation melanoma AUROC."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic; all trainings of a recipe share it."""
    channels_last: bool = True
    """Memory layout; faster on most machines."""
    compile: bool = Field(False, exclude_if=lambda value: not value)
    """Compile the network (`torch.compile`), which takes a minute at first and pays on GPUs; the CPU needs a C++
    compiler."""
    checkpoint_seconds: float = Field(60.0, ge=0)
    """Time between checkpoints within an epoch; each end of an epoch makes one besides."""

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        if self.balance == "sampler" and self.epoch_of != "image":
            raise ValueError(
                f"balance = 'sampler' draws images, epoch_of = '{self.epoch_of}' one of each {self.epoch_of}: "
                "use balance = 'weights' or epoch_of = 'image'"
            )
        return self


class LossSpec(Strict):
    """Which loss, and its constants."""

    kind: Literal["ce", "kd", "mse", "dkd", "dist"] = "kd"
    """`ce`: diagnoses alone; `kd`: Hinton et al. 2015; `mse`: squared difference of centred logits; `dkd`: Zhao et
    al. 2022; `dist`: Huang et al. 2022."""
    alpha: float = Field(0.1, ge=0, le=1)
    """Share of the cross-entropy on the diagnoses; the soft term has 1 - alpha."""
    temperature: float = Field(2.0, gt=0)
    """Softens both sides of the soft term, whose gradient is scaled back by its square."""
    standardise: bool = False
    """`kd`, `dkd`: standardise both networks' logits first (Sun et al. 2024)."""
    target_weight: float = Field(1.0, ge=0)
    """`dkd`: weight of the term of the target class."""
    other_weight: float = Field(8.0, ge=0)
    """`dkd`: weight of the term of the other classes."""
    inter_weight: float = Field(2.0, ge=0)
    """`dist`: weight of the correlation between classes."""
    intra_weight: float = Field(2.0, ge=0)
    """`dist`: weight of the correlation between images."""
    class_weights: tuple[float, ...] | None = None
    """Weights of the classes in the cross-entropy; `balance = "weights"` sets them."""

    @model_validator(mode="after")
    def _standardise_fits(self) -> Self:
        if self.standardise and self.kind not in ("kd", "dkd"):
            raise ValueError(f"standardise needs kind 'kd' or 'dkd', got '{self.kind}'")
        return self

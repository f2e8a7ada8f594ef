"""How networks are trained: schedules and losses. No torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dermdistill.specs import Strict


class TrainSpec(Strict):
    """How a network is trained; shared by teachers and students."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(64, ge=2)
    """Images a step, over all devices together."""
    optimizer: Literal["adamw", "adam", "sgd", "adadelta"] = "adamw"
    learning_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    """Not applied to biases and normalisation layers."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(0.5, ge=0)
    ema: float = Field(0.998, ge=0, lt=1)
    """Decay of the averaged weights, the ones that are validated and kept; 0 averages nothing."""
    clip: float = Field(5.0, ge=0)
    """Largest gradient norm; 0 clips nothing."""
    mixup: float = Field(0.0, ge=0, exclude_if=lambda value: value == 0)
    """Blend each image, and what is asked of it, with another of the batch in shares from Beta(mixup, mixup)."""
    balance: Literal["none", "sampler", "weights"] = "none"
    """Class imbalance: draw rare classes more often, or weigh their loss (square root of the inverse frequency)."""
    epoch_of: Literal["image", "photograph", "lesion"] = "image"
    """What an epoch shows once: each image, or of each photograph or lesion one image, drawn anew in each epoch."""
    patience: int | None = Field(None, ge=1)
    """End after so many epochs without a better validation melanoma AUROC."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = True
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
    """Hard cross-entropy; Hinton's distillation; squared logit error; decoupled distillation; DIST."""
    alpha: float = Field(0.1, ge=0, le=1)
    """Share of the hard cross-entropy; the distillation term has 1 - alpha, as in Khan et al. 2022."""
    temperature: float = Field(2.0, gt=0)
    standardise: bool = False
    """Standardise both networks' logits before a KL-based term (kd, dkd)."""
    target_weight: float = Field(1.0, ge=0)
    """DKD's alpha: weight of the target-class term."""
    other_weight: float = Field(8.0, ge=0)
    """DKD's beta: weight of the non-target-class term."""
    inter_weight: float = Field(2.0, ge=0)
    """DIST's beta: weight of the correlation between classes within an image."""
    intra_weight: float = Field(2.0, ge=0)
    """DIST's gamma: weight of the correlation between images within a class."""
    class_weights: tuple[float, ...] | None = None
    """Weights of the classes in the hard cross-entropy."""

    @model_validator(mode="after")
    def _standardise_fits(self) -> Self:
        if self.standardise and self.kind not in ("kd", "dkd"):
            raise ValueError(f"standardise needs kind 'kd' or 'dkd', got '{self.kind}'")
        return self

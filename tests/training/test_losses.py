"""Each loss: a value by hand, its floor, its gradient under temperature, and an untouched teacher."""

import copy
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from dermdistill.distillation.frozen import FrozenTeacher
from dermdistill.training import losses
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec

SOFT = ("kd", "mse", "dkd", "dist")
FORMS = [*((kind, False) for kind in SOFT), ("kd", True), ("dkd", True)]
"""Each loss after a teacher, and whether the logits are standardised."""
LABELS = torch.tensor([0, 3, 6, 1, 2])


def logits(seed, scale=1.0):
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def softmax(values, temperature=1.0):
    values = np.exp(np.asarray(values) / temperature)
    return values / values.sum(-1, keepdims=True)


# Values worked by hand


def test_cross_entropy_by_hand():
    student = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    labels = torch.tensor([1, 0])
    assert losses.cross_entropy(student, labels).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    # weighted mean: weight 3 for class 0, 1 for class 1
    weighted = (1 * math.log(4 / 3) + 3 * math.log(2)) / 4
    assert losses.cross_entropy(student, labels, (3.0, 1.0)).item() == pytest.approx(weighted)


def test_cross_entropy_takes_probabilities_as_labels():
    student = torch.tensor([[0.0, math.log(3.0)]])
    mixed = losses.cross_entropy(student, torch.tensor([[0.25, 0.75]]))
    assert mixed.item() == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    hard = torch.nn.functional.one_hot(LABELS, 7).double()
    assert losses.cross_entropy(logits(0), hard) == pytest.approx(losses.cross_entropy(logits(0), LABELS))


def test_kl_divergence_by_hand():
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]])  # at T = 2: 3/4, 1/4
    student = torch.tensor([[0.0, 0.0]])  # 1/2, 1/2
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert losses.kl_divergence(student, teacher, 2.0).item() == pytest.approx(expected)


def test_kl_divergence_is_averaged_over_the_batch_per_row():
    """The published code of Khan et al. takes one softmax over the whole array; each row must have its own."""
    student, teacher = logits(0), logits(1)
    rows = [losses.kl_divergence(student[i : i + 1], teacher[i : i + 1], 3.0) for i in range(5)]
    assert losses.kl_divergence(student, teacher, 3.0) == pytest.approx(sum(rows) / 5)


def test_logit_mse_by_hand():
    student, teacher = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 6.0]])
    # off their means: (-1, 1) and (-3, 3)
    assert losses.logit_mse(student, teacher).item() == pytest.approx(4.0)
    assert losses.logit_mse(student + 10, teacher - 5).item() == pytest.approx(4.0)


def test_decoupled_by_hand():
    # target class 0; T = 1. Teacher 1/2, 1/4, 1/4; student 1/4, 1/2, 1/4.
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    student = torch.tensor([[0.25, 0.5, 0.25]]).log()
    target = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    other = 0.5 * math.log(0.5 / (2 / 3)) + 0.5 * math.log(0.5 / (1 / 3))
    got = losses.decoupled(student, teacher, torch.tensor([0]), 1.0, 2.0, 3.0)
    assert got.item() == pytest.approx(2 * target + 3 * other)


def test_dist_by_hand():
    # probabilities whose rows are (3/4, 1/4) and (1/4, 3/4) against the reverse: every correlation is -1
    student = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])
    got = losses.dist(student, student.flip(1), 1.0, 2.0, 5.0)
    assert got.item() == pytest.approx(2 * 2 + 5 * 2, abs=1e-5)


def test_standardise_by_hand():
    assert losses.standardise(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [
        pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)], abs=1e-5)
    ]


# Against plain formulas


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_agrees_with_its_definition(temperature):
    student, teacher = logits(0, 3), logits(1, 3)
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    total = 0.0
    for row, label in enumerate(LABELS.tolist()):
        pt, qt = p[row, label], q[row, label]
        total += pt * np.log(pt / qt) + (1 - pt) * np.log((1 - pt) / (1 - qt))
        for other in set(range(7)) - {label}:
            ph, qh = p[row, other] / (1 - pt), q[row, other] / (1 - qt)
            total += 8.0 * ph * np.log(ph / qh)
    got = losses.decoupled(student, teacher, LABELS, temperature, 1.0, 8.0)
    assert got.item() == pytest.approx(total / 5 * temperature**2)


def test_decoupled_with_the_teachers_share_is_plain_distillation():
    """KD = TCKD + (1 - p_target) NCKD: the identity that the paper starts from, one image at a time."""
    student, teacher = logits(0), logits(1)
    for row in range(5):
        ours, theirs, label = student[row : row + 1], teacher[row : row + 1], LABELS[row : row + 1]
        share = 1 - softmax(theirs, 2.0)[0, label.item()]
        got = losses.decoupled(ours, theirs, label, 2.0, 1.0, share)
        assert got.item() == pytest.approx(losses.kl_divergence(ours, theirs, 2.0).item())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist_agrees_with_its_definition(temperature):
    student, teacher = logits(0), logits(1)
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    between = np.mean([1 - np.corrcoef(p[row], q[row])[0, 1] for row in range(5)])
    within = np.mean([1 - np.corrcoef(p[:, column], q[:, column])[0, 1] for column in range(7)])
    got = losses.dist(student, teacher, temperature, 1.5, 0.5)
    assert got.item() == pytest.approx((1.5 * between + 0.5 * within) * temperature**2, rel=1e-5)


def test_standardised_distillation_by_hand():
    # the z-scores of two classes are -1 and 1: log p - log q is 2 and -2, p is (1 + tanh 1)/2 and (1 - tanh 1)/2
    loss = make_loss(LossSpec(kind="kd", alpha=0, temperature=1.0, standardise=True))
    student, teacher = torch.tensor([[0.0, 5.0]]), torch.tensor([[3.0, 1.0]])
    assert loss(student, teacher, torch.tensor([0])).item() == pytest.approx(2 * math.tanh(1), rel=1e-5)


def test_standardised_distillation_ignores_shift_and_scale_of_both():
    loss = make_loss(LossSpec(kind="kd", alpha=0, temperature=2.0, standardise=True))
    student, teacher = logits(0), logits(1)
    changed = loss(3 * student + 1, 0.5 * teacher - 2, LABELS)
    assert changed.item() == pytest.approx(loss(student, teacher, LABELS).item(), rel=1e-5)


# Floors


@pytest.mark.parametrize(("kind", "standardise"), FORMS)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_zero_where_the_student_equals_the_teacher(kind, standardise, temperature):
    loss = make_loss(LossSpec(kind=kind, alpha=0, temperature=temperature, standardise=standardise))
    student = logits(0).requires_grad_()
    value = loss(student, logits(0), LABELS)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max() < 1e-6
    assert loss(logits(2), logits(0), LABELS) > 1e-3


def test_cross_entropy_of_probabilities_has_their_entropy_as_floor():
    p = softmax(logits(0))
    floor = -(p * np.log(p)).sum(1).mean()
    assert losses.cross_entropy(logits(0), torch.from_numpy(p)).item() == pytest.approx(floor)
    assert losses.cross_entropy(logits(1), torch.from_numpy(p)).item() > floor


# Gradients


def gradient(kind, temperature, standardise=False):
    student = logits(0, 0.1).requires_grad_()
    loss = make_loss(LossSpec(kind=kind, alpha=0, temperature=temperature, standardise=standardise))
    loss(student, logits(1, 0.1), LABELS).backward()
    return student.grad.norm().item()


@pytest.mark.parametrize("kind", ["kd", "dkd"])
def test_gradients_keep_their_scale_under_temperature(kind):
    """T² makes up for the 1/T² of the softened gradient; for small logits it is all there is."""
    assert gradient(kind, 20.0) == pytest.approx(gradient(kind, 2.0), rel=0.1)
    assert gradient(kind, 100.0) == pytest.approx(gradient(kind, 20.0), rel=0.02)


@pytest.mark.parametrize("kind", ["kd", "dkd"])
def test_standardised_gradients_keep_their_scale_under_temperature(kind):
    """Z-scores are of size one, so that T must be larger than for small logits before T² is all there is."""
    assert gradient(kind, 100.0, True) == pytest.approx(gradient(kind, 20.0, True), rel=0.1)
    assert gradient(kind, 1000.0, True) == pytest.approx(gradient(kind, 100.0, True), rel=0.02)


def test_hot_distillation_is_logit_matching():
    """Hinton et al., section 2.1: at high T the gradient is that of the centred squared difference."""
    student, teacher = logits(0).requires_grad_(), logits(1)
    (hot,) = torch.autograd.grad(losses.kl_divergence(student, teacher, 1000.0), student)
    (matched,) = torch.autograd.grad(losses.logit_mse(student, teacher), student)
    assert torch.allclose(hot, matched / 2, rtol=1e-2, atol=1e-5)


def test_mse_does_not_know_the_temperature_and_dist_grows_with_it():
    assert gradient("mse", 20.0) == gradient("mse", 2.0)
    # a correlation does not see that the probabilities draw together: T² is left over
    assert gradient("dist", 20.0) == pytest.approx(100 * gradient("dist", 2.0), rel=0.02)


@pytest.mark.parametrize("kind", SOFT)
def test_gradients_are_those_of_the_value(kind):
    loss = make_loss(LossSpec(kind=kind, alpha=0.3, temperature=3.0))
    teacher = logits(1)
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher, LABELS), logits(0).requires_grad_())


@pytest.mark.parametrize(("kind", "standardise"), FORMS)
def test_extreme_logits_give_finite_values_and_gradients(kind, standardise):
    loss = make_loss(LossSpec(kind=kind, alpha=0.5, temperature=1.0, standardise=standardise))
    sure = torch.nn.functional.one_hot(LABELS, 7).float() * 200
    for values in (torch.zeros(5, 7), sure, sure.roll(1, 0)):
        student = values.clone().requires_grad_()
        value = loss(student, sure, LABELS)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


@pytest.mark.parametrize("kind", SOFT)
def test_nothing_flows_into_the_teachers_logits(kind):
    teacher = logits(1).requires_grad_()
    make_loss(LossSpec(kind=kind))(logits(0).requires_grad_(), teacher, LABELS).backward()
    assert teacher.grad is None


@pytest.mark.parametrize(("kind", "standardise"), FORMS)
def test_a_training_step_leaves_the_teacher_unchanged(kind, standardise):
    def network():
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7)
        )

    torch.manual_seed(0)
    teacher, student = FrozenTeacher(network(), (0.5,) * 3, (0.5,) * 3, 8).train(), network().train()
    before = copy.deepcopy(teacher.state_dict())
    start = copy.deepcopy(student.state_dict())
    optimizer = torch.optim.AdamW([*student.parameters(), *teacher.parameters()], lr=0.1)
    images = torch.rand(5, 3, 8, 8)
    loss = make_loss(LossSpec(kind=kind, alpha=0.1, standardise=standardise))
    loss(student(images), teacher(images), LABELS).backward()
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert not torch.equal(start["0.weight"], student.state_dict()["0.weight"])


# How a spec becomes a loss


def test_alpha_is_the_share_of_the_hard_term():
    student, teacher = logits(0), logits(1)
    hard, soft = losses.cross_entropy(student, LABELS), losses.kl_divergence(student, teacher, 4.0)
    for alpha in (0.0, 0.1, 1.0):
        got = make_loss(LossSpec(kind="kd", alpha=alpha, temperature=4.0))(student, teacher, LABELS)
        assert got.item() == pytest.approx(alpha * hard.item() + (1 - alpha) * soft.item())


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        (LossSpec(kind="mse", alpha=0), lambda s, t: losses.logit_mse(s, t)),
        (
            LossSpec(kind="dkd", alpha=0, temperature=3, target_weight=2, other_weight=5),
            lambda s, t: losses.decoupled(s, t, LABELS, 3, 2, 5),
        ),
        (
            LossSpec(kind="dist", alpha=0, temperature=3, inter_weight=2, intra_weight=5),
            lambda s, t: losses.dist(s, t, 3, 2, 5),
        ),
        (
            LossSpec(kind="dkd", alpha=0, temperature=3, standardise=True),
            lambda s, t: losses.decoupled(losses.standardise(s), losses.standardise(t), LABELS, 3, 1, 8),
        ),
    ],
)
def test_constants_reach_the_loss(spec, plain):
    student, teacher = logits(0), logits(1)
    assert make_loss(spec)(student, teacher, LABELS).item() == pytest.approx(plain(student, teacher).item())


def test_class_weights_touch_the_hard_term_alone():
    weights = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    student, teacher = logits(0), logits(1)
    plain, weighted = (
        make_loss(LossSpec(alpha=0.5, temperature=2.0, class_weights=given))(student, teacher, LABELS)
        for given in (None, weights)
    )
    change = losses.cross_entropy(student, LABELS, weights) - losses.cross_entropy(student, LABELS)
    assert (weighted - plain).item() == pytest.approx(0.5 * change.item())


def test_hard_loss_needs_no_teacher():
    got = make_loss(LossSpec(kind="ce"))(logits(0), None, LABELS)
    assert got == losses.cross_entropy(logits(0), LABELS)


def test_mixed_labels_work_with_distillation():
    mixed = torch.from_numpy(softmax(logits(3)))
    got = make_loss(LossSpec(kind="kd", alpha=0.5))(logits(0), logits(1), mixed)
    assert got.isfinite()


@pytest.mark.parametrize("kind", SOFT)
def test_missing_or_misshapen_teacher_logits_are_told(kind):
    loss = make_loss(LossSpec(kind=kind))
    with pytest.raises(ValueError, match=rf"loss '{kind}' needs teacher logits \(5, 7\), got None"):
        loss(logits(0), None, LABELS)
    with pytest.raises(ValueError, match=r"\(5, 7\), got \(5, 2\)"):
        loss(logits(0), logits(1)[:, :2], LABELS)


def test_dkd_needs_class_indices_and_three_classes():
    with pytest.raises(ValueError, match=r"DKD needs class indices \[N\], got labels of shape \(5, 7\)"):
        make_loss(LossSpec(kind="dkd"))(logits(0), logits(1), torch.full((5, 7), 1 / 7))
    with pytest.raises(ValueError, match="at least three classes"):
        make_loss(LossSpec(kind="dkd"))(logits(0)[:, :2], logits(1)[:, :2], LABELS % 2)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"kind": "hinton"}, "'ce', 'kd', 'mse', 'dkd' or 'dist'"),
        ({"alpha": 1.5}, "less than or equal to 1"),
        ({"temperature": 0}, "greater than 0"),
        ({"tempreature": 2}, "Extra inputs"),
        ({"kind": "mse", "standardise": True}, "standardise needs kind 'kd' or 'dkd', got 'mse'"),
    ],
)
def test_wrong_specs_are_refused(wrong, told):
    with pytest.raises(ValidationError, match=told):
        LossSpec(**wrong)


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        LossSpec().alpha = 0.5

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from dermdistill.khan2022.protocol import (
    AS_PUBLISHED,
    CORRECTED,
    Faults,
    loss_terms,
    probabilities,
    relevant,
    single_faults,
    soft_share,
    soft_targets,
    student_values,
    teacher_faults,
)
from dermdistill.training.losses import make_loss
from dermdistill.training.spec import LossSpec

TEACHER = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [0.0, math.log(4.0)]])


def test_without_faults_a_row_sums_to_one_and_is_the_softmax_at_t():
    found = soft_targets(TEACHER, 1.0, CORRECTED)
    assert found.tolist() == [pytest.approx([0.75, 0.25]), pytest.approx([0.5, 0.5]), pytest.approx([0.2, 0.8])]
    softer = soft_targets(2 * TEACHER, 2.0, CORRECTED)
    assert torch.allclose(softer, found)


def test_the_softmax_over_the_whole_array_leaves_a_row_a_share_of_one_nth():
    found = soft_targets(TEACHER, 1.0, Faults(whole_array_softmax=True))
    # exponentials 3, 1, 1, 1, 1, 4: together 11
    assert found.flatten().tolist() == pytest.approx([3 / 11, 1 / 11, 1 / 11, 1 / 11, 1 / 11, 4 / 11])
    assert found.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("rows", [10, 5596])
def test_of_probabilities_the_mass_of_a_row_is_near_one_nth(rows):
    teacher = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0)) * 5
    faults = Faults(whole_array_softmax=True, probabilities_as_logits=True)
    mass = soft_targets(teacher, 10.0, faults).double().sum(1)
    assert mass.mean().item() == pytest.approx(1 / rows, rel=1e-4)
    assert mass.max() < 1.01 / rows  # exp(0.1 p) + exp(0.1 (1 - p)) varies by 0.13 %
    assert mass.min() > 0.99 / rows


def test_probabilities_taken_for_logits_are_nearly_uniform():
    found = soft_targets(TEACHER, 1.0, Faults(probabilities_as_logits=True))
    assert found[0].tolist() == pytest.approx([1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))])
    sure = torch.tensor([[1000.0, 0.0]])
    assert soft_targets(sure, 1.0, Faults(probabilities_as_logits=True)).max().item() == pytest.approx(0.7310586)
    assert soft_targets(sure, 10.0, Faults(probabilities_as_logits=True)).max().item() == pytest.approx(0.5249792)


def test_a_softmax_of_a_softmax_stays_within_0_269_and_0_731():
    outputs = torch.tensor([[-1000.0, 1000.0], [0.0, 0.0], [1000.0, -1000.0]])
    twice = probabilities(outputs, Faults(softmax_twice=True))[:, 1]
    assert twice.tolist() == pytest.approx([math.e / (1 + math.e), 0.5, 1 / (1 + math.e)])
    assert (round(twice.min().item(), 3), round(twice.max().item(), 3)) == (0.269, 0.731)
    assert probabilities(outputs, CORRECTED)[:, 1].tolist() == [1.0, 0.5, 0.0]


def test_the_losses_by_hand():
    outputs, labels = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([0])
    targets = torch.tensor([[0.25, 0.75]])
    options = {"alpha": 0.1, "temperature": 1.0}
    terms = loss_terms(outputs, targets, labels, **options, faults=CORRECTED)
    assert terms.hard.item() == pytest.approx(0.1 * math.log(4 / 3))
    assert terms.soft.item() == pytest.approx(0.9 * (0.25 * math.log(4 / 3) + 0.75 * math.log(4)))
    twice = loss_terms(outputs, targets, labels, **options, faults=Faults(softmax_twice=True))
    # the values are now 0.75 and 0.25: the softmax gives 1 / (1 + e^-0.5)
    right = 1 / (1 + math.exp(-0.5))
    assert twice.hard.item() == pytest.approx(-0.1 * math.log(right))
    assert twice.soft.item() == pytest.approx(-0.9 * (0.25 * math.log(right) + 0.75 * math.log(1 - right)))


def test_t_squared_multiplies_the_soft_term_alone():
    outputs, labels = torch.randn(6, 2), torch.tensor([0, 1] * 3)
    targets = soft_targets(torch.randn(6, 2), 10.0, CORRECTED)
    options = {"alpha": 0.1, "temperature": 10.0}
    scaled = loss_terms(outputs, targets, labels, **options, faults=CORRECTED)
    plain = loss_terms(outputs, targets, labels, **options, faults=Faults(no_t2=True))
    assert scaled.hard == plain.hard
    assert scaled.soft.item() == pytest.approx(100 * plain.soft.item(), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 10.0, 100.0])
def test_without_faults_it_is_hintons_distillation_up_to_the_targets_entropy(temperature):
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(8, 2, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (8,), generator=generator)
    targets = soft_targets(teacher, temperature, CORRECTED)
    ours = loss_terms(outputs, targets, labels, alpha=0.1, temperature=temperature, faults=CORRECTED).total
    hinton = make_loss(LossSpec(kind="kd", alpha=0.1, temperature=temperature))(outputs, teacher, labels)
    gradients = [torch.autograd.grad(loss, outputs)[0] for loss in (ours, hinton)]
    assert torch.allclose(*gradients, atol=1e-9)
    entropy = -(targets * targets.log()).sum(1).mean()
    assert (ours - hinton).item() == pytest.approx(0.9 * temperature**2 * entropy.item(), rel=1e-6)


def test_the_students_own_teacher_has_no_gradient_left():
    """The floor: where the student's values are the teacher's, the soft term teaches nothing."""
    outputs = torch.randn(5, 2)
    share = soft_share(
        outputs, soft_targets(outputs, 4.0, CORRECTED), torch.tensor([0, 1, 0, 1, 0]),
        alpha=0.1, temperature=4.0, faults=CORRECTED,
    )  # fmt: skip
    assert share.gradient == pytest.approx(0, abs=1e-5)
    assert share.value > 0.9


def test_as_published_the_soft_term_is_next_to_nothing():
    rows = 5596
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 2, (rows,), generator=generator)
    sign = (2.0 * labels - 1)[:, None] * torch.tensor([[-1.0, 1.0]])
    outputs, teacher = 3 * sign + torch.randn(rows, 2, generator=generator), 5 * sign
    targets = soft_targets(teacher, 10.0, AS_PUBLISHED)
    terms = loss_terms(outputs, targets, labels, alpha=0.1, temperature=10.0, faults=AS_PUBLISHED)
    assert terms.soft.item() < 1.15e-4  # 0.9 ln 2 / 5596
    assert 0.03 < terms.total.item() < 0.05
    options = {"alpha": 0.1, "temperature": 10.0}
    assert soft_share(outputs, targets, labels, **options, faults=AS_PUBLISHED).gradient < 1e-3
    right = soft_targets(teacher, 10.0, CORRECTED)
    assert soft_share(outputs, right, labels, **options, faults=CORRECTED).gradient > 0.5


def test_each_fault_changes_what_it_says_and_nothing_else():
    outputs, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    teacher = torch.randn(4, 2)
    options = {"alpha": 0.1, "temperature": 5.0}
    base = {
        "targets": soft_targets(teacher, 5.0, CORRECTED),
        "student": student_values(outputs, CORRECTED),
        "weight": loss_terms(outputs, torch.full((4, 2), 0.5), labels, **options, faults=CORRECTED).soft,
    }
    changed = {}
    for name, faults in single_faults():
        found = {
            "targets": soft_targets(teacher, 5.0, faults),
            "student": student_values(outputs, faults),
            "weight": loss_terms(outputs, torch.full((4, 2), 0.5), labels, **options, faults=faults).soft,
        }
        changed[name] = {key for key in base if not torch.equal(base[key], found[key])}
    assert changed == {
        "random-split": set(), "no-normalisation": set(), "small-step": set(), "last-epoch": set(),
        "test-selection": set(), "whole-array-softmax": {"targets"}, "probabilities-as-logits": {"targets"},
        "softmax-twice": {"student", "weight"}, "no-t2": {"weight"},
    }  # fmt: skip


def test_faults_that_cannot_act_are_left_out():
    alone = relevant(AS_PUBLISHED, distilled=False, optimizer="adam")
    assert alone == Faults(random_split=True, no_normalisation=True, last_epoch=True)
    assert relevant(AS_PUBLISHED, distilled=True, optimizer="adadelta") == AS_PUBLISHED
    assert teacher_faults(AS_PUBLISHED) == Faults(random_split=True, no_normalisation=True)


def test_as_published_has_every_fault_but_the_choice_on_test():
    assert {name for name, on in AS_PUBLISHED.model_dump().items() if not on} == {"test_selection"}
    with pytest.raises(ValidationError, match="only one can be on"):
        Faults(last_epoch=True, test_selection=True)
    with pytest.raises(ValidationError, match="frozen"):
        CORRECTED.no_t2 = True  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Faults(no_t3=True)


def test_cross_entropy_is_the_hard_term():
    outputs, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    terms = loss_terms(outputs, torch.zeros(4, 2), labels, alpha=1.0, temperature=2.0, faults=CORRECTED)
    assert terms.total.item() == pytest.approx(functional.cross_entropy(outputs, labels).item())

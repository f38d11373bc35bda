"""Distillation: a small network learns from a large one, or a changed network from what it was."""

from tinyopt.compress.distill.distill import distill, distill_chain, distill_module
from tinyopt.compress.distill.loss import DistillationLoss, attention_loss, hint_loss, soft_loss
from tinyopt.compress.distill.settings import DistillSettings
from tinyopt.compress.distill.teacher import Teacher, TeacherLike

__all__ = [
    "DistillSettings",
    "DistillationLoss",
    "Teacher",
    "TeacherLike",
    "attention_loss",
    "distill",
    "distill_chain",
    "distill_module",
    "hint_loss",
    "soft_loss",
]

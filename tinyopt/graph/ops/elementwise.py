"""Elementwise operators and normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tinyopt.graph.ops.base import NONE, RELU, Attributes, Clamp


class BinaryKind(str, Enum):
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"


@dataclass(frozen=True)
class Binary(Attributes):
    """a, b with numpy broadcasting → broadcast shape. Either may be a constant."""

    inputs = (2, 2)
    op: BinaryKind
    activation: Clamp = NONE

    @property
    def kind(self) -> str:
        return self.op.value.capitalize()


class UnaryKind(str, Enum):
    LOGISTIC = "logistic"
    TANH = "tanh"
    HARD_SWISH = "hard_swish"
    HARD_SIGMOID = "hard_sigmoid"  # clip(x/6 + 1/2, 0, 1)
    GELU = "gelu"  # exact, with erf
    GELU_TANH = "gelu_tanh"  # the tanh approximation
    SILU = "silu"
    ELU = "elu"  # alpha
    SOFTPLUS = "softplus"
    LEAKY_RELU = "leaky_relu"  # alpha
    ABS = "abs"
    NEG = "neg"
    EXP = "exp"
    LOG = "log"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    SQUARE = "square"
    ERF = "erf"
    SIGN = "sign"  # 1 where x >= 0, else -1: zero is positive
    SIGNUM = "signum"  # -1, 0 or 1


@dataclass(frozen=True)
class Unary(Attributes):
    """x → same shape."""

    inputs = (1, 1)
    op: UnaryKind
    alpha: float = 0.0

    @property
    def kind(self) -> str:
        return "".join(part.capitalize() for part in self.op.value.split("_"))


@dataclass(frozen=True)
class Clip(Attributes):
    """x → clamp(x), a stand-alone relu, relu6 or clip."""

    inputs = (1, 1)
    clamp: Clamp = RELU


@dataclass(frozen=True)
class Prelu(Attributes):
    """x [...,C], alpha broadcastable to x (constant) → x where x ≥ 0 else alpha * x."""

    inputs = (2, 2)


@dataclass(frozen=True)
class BatchNorm(Attributes):
    """x [...,C], gamma [C], beta [C], mean [C], variance [C] → gamma * (x - mean) / sqrt(variance + epsilon) + beta."""

    inputs = (5, 5)
    epsilon: float = 1e-5


@dataclass(frozen=True)
class LayerNorm(Attributes):
    """x [...,D], gamma [D], beta [D] → normalised over the last axis (Ba et al. 2016)."""

    inputs = (3, 3)
    epsilon: float = 1e-5

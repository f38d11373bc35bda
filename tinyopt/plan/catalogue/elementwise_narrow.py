"""Products of int8 tensors for cores on which a long multiply is dear."""

from __future__ import annotations

from tinyopt.plan.catalogue import elementwise
from tinyopt.plan.catalogue.elementwise_dsp import accepts_product
from tinyopt.plan.kernel import Kernel

KERNELS = tuple(
    Kernel(
        name=name,
        family="mul_s8",
        source="narrow.c",
        accepts=accepts_product(constants),
        lower=elementwise.lower_product,
        cost=lambda graph, operator: 30.0 * graph.outs(operator)[0].size + 60,
        needs=("broadcast.h", "common.h", "narrow.h"),
    )
    for constants, name in enumerate(("mul_s8_narrow", "mul_s8_constant_narrow"))
)

"""Which kernels there are for layers with weights: by the form of the weights, the layer, and the core.

    python -m benchmarks.weight_forms

Writes docs/weight-forms.md from the kernel catalogue.
"""

from __future__ import annotations

from pathlib import Path

from tinyopt.plan.catalogue import all_kernels
from tinyopt.plan.kernel import Kernel

TARGET = Path(__file__).resolve().parent.parent / "docs" / "weight-forms.md"

LAYERS = {
    "fully_connected": "fully connected",
    "conv2d": "convolution",
    "grouped_conv2d": "convolution in groups",
    "depthwise_conv2d": "depthwise",
    "multiplied_depthwise_conv2d": "depthwise, several outputs a channel",
}
FORMS = {
    ("", "s8"): "int8",
    ("packed_", "s8"): "at most 16 values, expanded",
    ("uniform_", "s8"): "evenly spaced values, multiplied as codes",
    ("xnor_", ""): "signs of signs",
    ("sparse_", "s8"): "sparse",
    ("coded_", "s8"): "entropy-coded",
    ("", "f32"): "float32",
    ("half_", "f32"): "half precision",
}
CORES = {frozenset[str](): "any core", frozenset({"dsp"}): "Arm DSP extension", frozenset({"mve"}): "Helium"}
"""Features that a kernel requires → what cores have them. Those of Helium have the DSP extension as well."""

HEAD = """# Kernels by form of weights

What runs where: the endings of the names of the kernels. A core takes any kernel of its column and of those to the left
of it; the planner takes the best one for the layer. What the forms are is in
[compressed kernels](compressed-kernels.md) and [sparse kernels](sparse-kernels.md). Written from the catalogue by
`python -m benchmarks.weight_forms`.
"""


def families() -> dict[str, tuple[str, str]]:
    """Kernel family → form of weights and layer, of all families of these layers."""
    return {
        "_".join(filter(None, (prefix + layer, dtype))): (form, LAYERS[layer])
        for (prefix, dtype), form in FORMS.items()
        for layer in LAYERS
    }


def rows() -> list[tuple[str, str, tuple[str, ...]]]:
    """Form, layer, and the endings of the kernels of every column of ``CORES``, in the order of the forms."""
    known = families()
    found: dict[tuple[str, str], dict[frozenset[str], list[str]]] = {}
    for kernel in all_kernels():
        place = known.get(kernel.family)
        if place is not None:
            found.setdefault(place, {}).setdefault(kernel.requires, []).append(_ending(kernel))
    order = {place: number for number, place in enumerate(known.values())}
    return [
        (*place, tuple(_cell(found[place].get(core, [])) for core in CORES))
        for place in sorted(found, key=order.__getitem__)
    ]


def _cell(endings: list[str]) -> str:
    return ", ".join(f"`{ending}`" for ending in sorted(endings))


def _ending(kernel: Kernel) -> str:
    return kernel.name.removeprefix(kernel.family).removeprefix("_")


def page() -> str:
    """The page, in Markdown."""
    lines = [HEAD, f"| weights | layer | {' | '.join(CORES.values())} |", "| --- | --- |" + " --- |" * len(CORES)]
    last = ""
    for form, layer, cells in rows():
        lines.append(f"| {form if form != last else ''} | {layer} | {' | '.join(cells)} |")
        last = form
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")

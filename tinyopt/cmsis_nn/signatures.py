"""The functions and structures of CMSIS-NN that tinyopt uses, as the releases 4.0.0 to 7.0.0 and the present one
declare them (Arm, arm_nnfunctions.h and arm_nn_types.h).

A library may lack a function: then its kernels are not offered. One that declares it in another way is refused, since
code written for these declarations would not compile, or worse, compile to something else.
"""

from __future__ import annotations

from collections.abc import Mapping

_CONVOLUTION = (
    "const cmsis_nn_context *",
    "const {} *",
    "const cmsis_nn_per_channel_quant_params *",
    *("const cmsis_nn_dims *", "const int8_t *") * 2,
    "const cmsis_nn_dims *",
    "const int32_t *",
    "const cmsis_nn_dims *",
    "int8_t *",
)
_POOL = (
    "const cmsis_nn_context *",
    "const cmsis_nn_pool_params *",
    "const cmsis_nn_dims *",
    "const int8_t *",
    *("const cmsis_nn_dims *",) * 2,
    "int8_t *",
)


def _like_convolution(parameters: str, scales: str = "cmsis_nn_per_channel_quant_params") -> tuple[str, ...]:
    types = [text.format(parameters) for text in _CONVOLUTION]
    types[2] = f"const {scales} *"
    return tuple(types)


def _sizes(parameters: str) -> tuple[str, ...]:
    return (f"const {parameters} *", *("const cmsis_nn_dims *",) * 3)


FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "arm_convolve_wrapper_s8": _like_convolution("cmsis_nn_conv_params"),
    "arm_convolve_wrapper_s8_get_buffer_size": _sizes("cmsis_nn_conv_params"),
    "arm_depthwise_conv_wrapper_s8": _like_convolution("cmsis_nn_dw_conv_params"),
    "arm_depthwise_conv_wrapper_s8_get_buffer_size": _sizes("cmsis_nn_dw_conv_params"),
    "arm_fully_connected_s8": _like_convolution("cmsis_nn_fc_params", "cmsis_nn_per_tensor_quant_params"),
    "arm_fully_connected_per_channel_s8": _like_convolution("cmsis_nn_fc_params"),
    "arm_fully_connected_s8_get_buffer_size": ("const cmsis_nn_dims *",),
    "arm_avgpool_s8": _POOL,
    "arm_avgpool_s8_get_buffer_size": ("const int", "const int"),
    "arm_max_pool_s8": _POOL,
    "arm_softmax_s8": ("const int8_t *", *("const int32_t",) * 5, "int8_t *"),
    "arm_elementwise_add_s8": (
        *("const int8_t *",) * 2,
        *("const int32_t",) * 7,
        "int8_t *",
        *("const int32_t",) * 6,
    ),
    "arm_elementwise_mul_s8": (
        *("const int8_t *",) * 2,
        *("const int32_t",) * 2,
        "int8_t *",
        *("const int32_t",) * 6,
    ),
}

_WINDOW = ("cmsis_nn_tile stride", "cmsis_nn_tile padding")
_OFFSETS = ("int32_t input_offset", "int32_t output_offset")
_ACTIVATION = "cmsis_nn_activation activation"

STRUCTS: Mapping[str, tuple[str, ...]] = {
    "cmsis_nn_tile": ("int32_t w", "int32_t h"),
    "cmsis_nn_context": ("void * buf", "int32_t size"),
    "cmsis_nn_dims": ("int32_t n", "int32_t h", "int32_t w", "int32_t c"),
    "cmsis_nn_per_channel_quant_params": ("int32_t * multiplier", "int32_t * shift"),
    "cmsis_nn_per_tensor_quant_params": ("int32_t multiplier", "int32_t shift"),
    "cmsis_nn_activation": ("int32_t min", "int32_t max"),
    "cmsis_nn_conv_params": (*_OFFSETS, *_WINDOW, "cmsis_nn_tile dilation", _ACTIVATION),
    "cmsis_nn_dw_conv_params": (*_OFFSETS, "int32_t ch_mult", *_WINDOW, "cmsis_nn_tile dilation", _ACTIVATION),
    "cmsis_nn_pool_params": (*_WINDOW, _ACTIVATION),
    "cmsis_nn_fc_params": ("int32_t input_offset", "int32_t filter_offset", "int32_t output_offset", _ACTIVATION),
}


def differences(declared: Mapping[str, tuple[str, ...]], defined: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What a library's headers (functions declared, structures defined) have in another form than expected."""
    lines = [
        f"{name}({', '.join(declared[name])}), expected ({', '.join(types)})"
        for name, types in FUNCTIONS.items()
        if name in declared and declared[name] != types
    ]
    for name, fields in STRUCTS.items():
        found = defined.get(name)
        if found != fields:
            have = "is missing" if found is None else f"is {{{'; '.join(found)}}}"
            lines.append(f"struct {name} {have}, expected {{{'; '.join(fields)}}}")
    return lines

"""A PyTorch model, once imported, computes what the model computes, in the layout of the graph."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinyopt.errors import ModelError, TinyoptError, UnsupportedOperatorsError
from tinyopt.execute.float import run_batch, run_sample
from tinyopt.graph import Graph
from tinyopt.importers.pytorch import import_torch


class Function(nn.Module):
    """A function as a module, with the layers that it uses."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*self.layers, *inputs)


def randomised(module: nn.Module) -> nn.Module:
    """Statistics and affine parameters that are not the neutral ones."""
    generator = torch.Generator().manual_seed(3)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.dtype.is_floating_point:
            tensor.data = torch.rand(tensor.shape, generator=generator) * 0.8 - 0.2
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.data = buffer.data.abs() + 0.5
    return module.eval()


def agrees(module: nn.Module, *shapes: tuple[int, ...], **options: Any) -> Graph:
    """Import, run on random inputs, compare with the module; returns the graph."""
    module = randomised(module)
    generator = torch.Generator().manual_seed(5)
    inputs = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    graph = import_torch(module, inputs, **options)
    with torch.no_grad():
        expected = module(*(x.clone() for x in inputs))
    compare(graph, [x.numpy() for x in inputs], expected)
    return graph


def compare(graph: Graph, inputs: list[Any], expected: Any) -> None:
    flat = [t for t in torch.utils._pytree.tree_leaves(expected) if isinstance(t, torch.Tensor)]
    results = list(run_sample(graph, dict(zip(graph.inputs, inputs))).values())
    assert len(results) == len(flat)
    for result, tensor in zip(results, flat):
        reference = tensor.detach().numpy()
        assert result.shape == reference.shape
        assert np.allclose(result, reference, rtol=1e-4, atol=1e-4 * (1 + float(np.abs(reference).max()))), graph


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


IMAGE = (1, 6, 9, 8)
SEQUENCE = (1, 4, 12)

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv2d": (nn.Conv2d(6, 5, 3, stride=(2, 1), padding=(1, 2)), IMAGE),
    "conv2d same": (nn.Conv2d(6, 5, (2, 4), padding="same", dilation=(2, 1)), IMAGE),
    "conv2d groups": (nn.Conv2d(6, 4, 3, groups=2, bias=False), IMAGE),
    "conv2d reflect": (nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"), IMAGE),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6, padding=1), IMAGE),
    "conv1d": (nn.Conv1d(4, 6, 3, padding=2, dilation=2), SEQUENCE),
    "transposed": (nn.ConvTranspose2d(6, 3, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "transposed groups": (nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2), IMAGE),
    "transposed 1d": (nn.ConvTranspose1d(4, 3, 4, stride=3, dilation=2), SEQUENCE),
    "linear": (nn.Linear(8, 3), IMAGE),
    "batch norm first": (nn.BatchNorm2d(6), IMAGE),
    "batch norm 1d": (nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)), SEQUENCE),
    "layer norm": (nn.LayerNorm(8), IMAGE),
    "layer norm image": (nn.Sequential(nn.Conv2d(6, 3, 2), nn.LayerNorm([3, 8, 7])), IMAGE),
    "group norm": (nn.Sequential(nn.Conv2d(6, 4, 1), nn.GroupNorm(2, 4)), IMAGE),
    "instance norm": (nn.InstanceNorm2d(6, affine=True), IMAGE),
    "max pool": (nn.MaxPool2d(3, 2, padding=1), IMAGE),
    "max pool ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), IMAGE),
    "average pool": (nn.AvgPool2d(3, 2, padding=1), IMAGE),
    "average pool inside": (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), IMAGE),
    "average pool ceil": (nn.AvgPool2d(2, 2, padding=1, ceil_mode=True), IMAGE),
    "pool 1d": (nn.Sequential(nn.MaxPool1d(2), nn.AvgPool1d(3, 2)), SEQUENCE),
    "global pool": (nn.AdaptiveAvgPool2d(1), IMAGE),
    "adaptive pool": (nn.AdaptiveAvgPool2d((3, 4)), IMAGE),
    "adaptive pool uneven": (nn.AdaptiveAvgPool2d((4, 3)), IMAGE),
    "adaptive max pool": (nn.AdaptiveMaxPool2d((4, 8)), IMAGE),
    "prelu": (nn.Sequential(nn.Conv2d(6, 4, 1), nn.PReLU(4)), IMAGE),
    "one prelu": (nn.PReLU(), IMAGE),
    "upsample nearest": (nn.Upsample(scale_factor=2), IMAGE),
    "upsample to a size": (nn.Upsample(size=(5, 13)), IMAGE),
    "upsample bilinear": (nn.Upsample(size=(5, 13), mode="bilinear"), IMAGE),
    "upsample corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), IMAGE),
    "upsample 1d": (nn.Upsample(scale_factor=3), SEQUENCE),
    "pixel shuffle": (nn.Sequential(nn.Conv2d(6, 8, 1), nn.PixelShuffle(2)), IMAGE),
    "pixel unshuffle": (nn.PixelUnshuffle(2), (1, 3, 8, 6)),
    "channel shuffle": (nn.Sequential(nn.Conv2d(6, 8, 1), nn.ChannelShuffle(4), nn.Conv2d(8, 4, 1)), IMAGE),
    "zero pad": (nn.ZeroPad2d((1, 2, 0, 3)), IMAGE),
    "reflection pad": (nn.ReflectionPad2d((1, 2, 3, 0)), IMAGE),
    "replication pad": (nn.ReplicationPad1d((2, 1)), SEQUENCE),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8)),
    **{
        type(activation).__name__.lower(): (activation, IMAGE)
        for activation in (
            nn.ReLU(True), nn.ReLU6(), nn.Hardtanh(-2, 0.5), nn.LeakyReLU(0.2), nn.Hardswish(), nn.Hardsigmoid(),
            nn.GELU(), nn.SiLU(), nn.ELU(1.3), nn.SELU(), nn.CELU(0.7), nn.Sigmoid(), nn.Tanh(), nn.Softplus(2.0),
            nn.Mish(), nn.Softsign(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Softmax(1), nn.LogSoftmax(-1),
            nn.Dropout(0.5),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str) -> None:
    module, shape = LAYERS[name]
    agrees(module, shape)


FUNCTIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "arithmetic": lambda x: (x + 2) * x / (x.abs() + 1) - torch.sub(x, x * 0.5, alpha=3) + (1 - x) / 4,
    "broadcast": lambda x: x * x.mean((2, 3), keepdim=True) + x[:, :1] - x.amax(1, keepdim=True),
    "extremes": lambda x: torch.maximum(x, -x) + torch.minimum(x, x * 2) + x.max(1, keepdim=True)[0],
    "powers": lambda x: x**2 + x**3 + (x * x + 1) ** 0.5 + torch.rsqrt(x.abs() + 1) + 1 / (x * x + 1),
    "exponential": lambda x: torch.exp(x).log() - (-x).erf(),
    "clamps": lambda x: x.clamp(-0.5, 0.7) + x.clamp(min=0.1) + x.clamp_max(0.2),
    "slices": lambda x: torch.cat([x[:, 1:5:2, :, ::3], x[:, -2:, :, [0, 3, 7]]], 1),
    "select": lambda x: x[:, 2, 3:] + x[0, 0, 0, :],
    "flip": lambda x: x.flip(1, 3),
    "split": lambda x: [a * b for a, b in zip(x.split([3, 3], 1), x.chunk(2, 1))],
    "unbind": lambda x: torch.stack(x.unbind(2), -1),
    "index": lambda x: x.index_select(2, torch.tensor([0, 8, 4])) + x[:, :, [1, 2, -1]],
    "expand": lambda x: x.mean(1, keepdim=True).expand(-1, 6, -1, -1) + x,
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "squeeze": lambda x: x[:, :, :1].squeeze(2).unsqueeze(-1).permute(0, 2, 3, 1),
    "views": lambda x: x.reshape(1, 3, 2, 72).transpose(1, 2).flatten(1, 2).view(1, 6, 9, 8),
    "odd view": lambda x: x.permute(0, 2, 3, 1).reshape(16, 27),
    "argmax": lambda x: (x.argmax(1), x.argmax(-1, keepdim=True), x.argmax(), x.min(2)[1]),
    "means": lambda x: (x.mean(), x.mean((1, 3)), x.sum(1), x.mean((2, 3)), x.amin((1, 2, 3))),
    "matmul": lambda x: torch.matmul(x, x.transpose(2, 3)) @ x,
    "vectors": lambda x: (torch.matmul(x, torch.ones(8)), torch.matmul(torch.ones(6), x.permute(0, 2, 1, 3))),
    "einsum": lambda x: torch.einsum("bchw,bcdw->bhd", x, x),
    "roll": lambda x: torch.roll(x, 3, 2),
    "variance": lambda x: x.var(1) + x.std((2, 3), unbiased=False)[..., None][:, :1],
    "normalize": lambda x: F.normalize(x, dim=1),
    "constants": lambda x: x + torch.arange(8.0) * torch.ones(6, 1, 1) + torch.zeros_like(x) + x.new_full((8,), 2.0),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "tril mask": lambda x: x[..., :8, :8] * torch.tril(torch.ones(8, 8)),
    "in place": lambda x: x.mul_(2).add_(x).relu_(),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    """On a tensor in the model's order, and on one that a convolution stored channels-last."""
    function = FUNCTIONS[name]
    agrees(Function(lambda conv, x: (function(conv(x)), function(x)), nn.Conv2d(6, 6, 1)), IMAGE)


@pytest.mark.parametrize("layers,both", [(1, False), (2, True)])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers(kind: type[nn.LSTM] | type[nn.GRU], layers: int, both: bool) -> None:
    layer = kind(5, 3, layers, batch_first=True, bidirectional=both)
    agrees(layer, (1, 7, 5))
    agrees(Function(lambda rnn, x: rnn(x)[0], kind(5, 3)), (7, 1, 5))


def test_embedding() -> None:
    module = randomised(nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 2)))
    tokens = torch.tensor([[3, 0, 10]])
    compare(import_torch(module, tokens), [tokens.numpy()], module(tokens))


class Residual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True))
        self.b = nn.Sequential(nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Conv2d(channels, out, 1, stride) if stride > 1 else nn.Identity()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(out, 4, 1), nn.ReLU(), nn.Conv2d(4, out, 1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b(self.a(x))
        return F.relu(y * self.gate(y).sigmoid() + self.shortcut(x))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU6(), Residual(8, 8, 1), Residual(8, 12, 2), nn.MaxPool2d(2),
        Residual(12, 16, 2), nn.Flatten(), nn.Dropout(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 5), nn.Softmax(-1),
    )  # fmt: skip


def test_a_convolutional_network_has_one_transpose_at_its_input_and_none_inside() -> None:
    graph = agrees(network(), (1, 3, 16, 16))
    assert graph.tensors[graph.inputs[0]].shape == (1, 3, 16, 16)
    assert kinds(graph)[0] == "Transpose" and kinds(graph).count("Transpose") == 1


def test_a_channels_last_input_needs_no_transpose() -> None:
    module = randomised(network())
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    graph = import_torch(module, x, input_layout="nhwc")
    assert "Transpose" not in kinds(graph)
    with torch.no_grad():
        compare(graph, [x.permute(0, 2, 3, 1).numpy()], module(x))


def test_a_channels_last_output() -> None:
    module = randomised(nn.Conv2d(3, 4, 3))
    x = torch.randn(1, 3, 6, 6)
    graph = import_torch(module, x, input_layout="nhwc", output_layout="nhwc")
    assert kinds(graph) == ["Conv2d"]
    compare(graph, [x.permute(0, 2, 3, 1).numpy()], module(x).permute(0, 2, 3, 1))


def test_one_channel_is_reshaped_not_transposed() -> None:
    assert kinds(agrees(nn.Conv2d(1, 4, 3), (1, 1, 8, 8))) == ["Reshape", "Conv2d", "Transpose"]


def test_one_dimensional_convolutions_stay_in_one_layout() -> None:
    layers = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.BatchNorm1d(8), nn.Conv1d(8, 8, 3), nn.MaxPool1d(2))
    graph = agrees(nn.Sequential(layers, nn.Flatten(), nn.Linear(32, 2)), SEQUENCE)
    assert kinds(graph).count("Transpose") == 1
    assert kinds(graph).count("Reshape") <= 2


def test_a_buffer_that_the_model_changes_is_a_state() -> None:
    class Streaming(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("past", torch.zeros(1, 2, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            window = torch.cat([self.past, x], 1)
            self.past.copy_(window[:, 1:])
            return window.sum(1)

    graph = import_torch(Streaming(), torch.zeros(1, 1, 3))
    samples = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    sums = run_batch(graph, {graph.inputs[0]: samples})[graph.outputs[0]]
    assert sums.tolist() == [[0, 1, 2], [3, 5, 7], [9, 12, 15], [18, 21, 24]]


def test_a_module_in_training_mode_is_exported_for_inference_and_left_as_it_was() -> None:
    module = network().train()
    graph = import_torch(module, torch.zeros(1, 3, 16, 16))
    assert module.training and "BatchNorm" in kinds(graph)


def test_all_unsupported_operators_are_listed_at_once() -> None:
    module = Function(lambda x: (torch.fft.rfft(x).abs(), torch.cumsum(x, 1), torch.sort(x)[0]))
    with pytest.raises(UnsupportedOperatorsError) as caught:
        import_torch(module, torch.randn(1, 8))
    text = str(caught.value)
    assert "cumsum" in text and "sort" in text and "fft" in text and torch.__version__ in text


def test_a_module_that_cannot_be_traced_gives_the_reason() -> None:
    module = Function(lambda x: x + 1 if x.sum() > 0 else x)
    with pytest.raises(ModelError, match="could not trace"):
        import_torch(module, torch.randn(1, 8))


def test_nan_weights_are_refused() -> None:
    module = nn.Linear(3, 2)
    module.weight.data[0, 1] = float("nan")
    with pytest.raises(ModelError, match=r"NaN"):
        import_torch(module, torch.zeros(1, 3))


# ---- files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive() -> bytes:
    program = torch.export.export(randomised(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())), (torch.zeros(1, 1, 5, 5),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def changed(archive: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """A copy of a zip file with some members replaced."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(output, "w") as target:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return output.getvalue()


def edited(archive: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """A copy with the program's JSON edited."""

    def change(name: str, content: bytes) -> bytes:
        if "/models/" not in name:
            return content
        program = json.loads(content)
        edit(program)
        return json.dumps(program).encode()

    return changed(archive, change)


def test_a_pt2_file_gives_the_same_graph_as_its_module(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.pt2"
    path.write_bytes(archive)
    graph = import_torch(path)
    assert graph.name == "small" and kinds(graph) == ["Reshape", "Conv2d", "Clip", "Transpose"]
    assert kinds(import_torch(archive, input_layout="nhwc", output_layout="nhwc")) == ["Conv2d", "Clip"]


def test_a_dynamic_batch_becomes_one() -> None:
    dynamic = {0: torch.export.Dim("batch", min=1, max=64)}
    module = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2)))
    program = torch.export.export(module, (torch.zeros(4, 3, 6, 6),), dynamic_shapes=(dynamic,))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    x = torch.randn(1, 3, 6, 6)
    for source in (program, buffer.getvalue()):
        graph = import_torch(source)
        assert graph.tensors[graph.inputs[0]].shape == (1, 3, 6, 6)
        compare(graph, [x.numpy()], module(x))


def test_a_batch_of_more_than_one_keeps_its_size() -> None:
    graph = agrees(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2)), (3, 2, 4, 4))
    assert graph.tensors[graph.inputs[0]].shape == (3, 2, 4, 4)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


def test_a_file_runs_no_code_when_it_is_opened(archive: bytes, tmp_path: Path) -> None:
    import pickle

    proof = tmp_path / "proof"
    code = f"__import__('pathlib').Path({str(proof)!r}).write_text('executed')"

    def guards(program: dict[str, Any]) -> None:
        program["guards_code"] = [code]

    def expression(program: dict[str, Any]) -> None:
        sizes = program["graph_module"]["graph"]["tensor_values"]["input"]["sizes"]
        sizes[0] = {"as_expr": {"expr_str": code, "hint": {"as_int": 1}}}

    def pickled(name: str, content: bytes) -> bytes:
        return pickle.dumps(Payload(proof)) if "sample_inputs" in name else content

    def pickled_weight(name: str, content: bytes) -> bytes:
        if name.endswith("weight_0"):
            return pickle.dumps(Payload(proof))
        return content.replace(b'"use_pickle": false', b'"use_pickle": true')

    def argument(program: dict[str, Any]) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["forward_arg_names"] = [f"input=({code})"]

    def renamed(program: dict[str, Any]) -> None:
        text = json.dumps(program["graph_module"]["graph"]).replace('"conv2d"', json.dumps(f"conv2d = {code};"))
        program["graph_module"]["graph"] = json.loads(text)

    import_torch(edited(archive, guards))  # the guard is dropped
    files = [edited(archive, change) for change in (expression, argument, renamed)]
    for hostile in (*files, changed(archive, pickled), changed(archive, pickled_weight)):
        with pytest.raises(ModelError):
            import_torch(hostile)
    assert not proof.exists()


def test_operators_outside_of_aten_are_refused_by_name(archive: bytes) -> None:
    def target(program: dict[str, Any]) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"

    with pytest.raises(UnsupportedOperatorsError, match="from_file"):
        import_torch(edited(archive, target))


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_one_clear_error(archive: bytes, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(archive if seed % 2 else archive[: int(random.integers(1, len(archive)))])
    for position in random.integers(0, len(data), 8):
        data[position] = random.integers(0, 256)
    with pytest.raises(TinyoptError):
        graph = import_torch(bytes(data))
        raise ModelError(f"undamaged in effect: {graph.name}")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ModelError, match=r"torch\.export\.save"):
        import_torch(path)

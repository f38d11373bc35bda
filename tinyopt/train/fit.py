"""The training loop."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tinyopt.errors import TrainingError
from tinyopt.graph import Array
from tinyopt.train import checkpoint
from tinyopt.train.augment import Augment
from tinyopt.train.dataset import Dataset, DatasetLike, as_dataset
from tinyopt.train.evaluate import class_count, labelled, measure
from tinyopt.train.log import Display, TensorBoard, display, write_lines
from tinyopt.train.loop import Callback, EpochLog, Position, TrainResult
from tinyopt.train.loss import CrossEntropy, Loss, MeanSquaredError
from tinyopt.train.settings import TrainSettings

CHECKPOINT_SECONDS = 600.0
"""A checkpoint is written after every epoch, and within an epoch when the last one is older."""

Score = tuple[float, float]


def fit(
    module: nn.Module,
    train: DatasetLike,
    validation: DatasetLike | None = None,
    settings: TrainSettings | None = None,
    *,
    loss: Loss | Literal["cross_entropy", "mean_squared_error"] = "cross_entropy",
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
    parameters: Sequence[Mapping[str, Any]] | None = None,
    folder: str | Path | None = None,
    resume: bool = True,
    progress: bool | None = None,
) -> TrainResult:
    """Train a module in place.

    ``train``, ``validation``: ``Samples`` with labels, or pairs (inputs, targets) of arrays; checked before the first
    step. ``loss``: cross-entropy (class numbers as targets; for graphs, on the scores before a final softmax), mean
    squared error, or any function of (module, inputs, targets). ``augment``: applied to every training batch of the
    first input. ``parameters``: groups for the optimiser, each with ``params`` and perhaps ``lr_factor`` and
    ``weight_decay``; by default all that want a gradient.

    ``folder`` receives ``checkpoint.pt``, ``log.jsonl`` and, where TensorBoard is installed, ``tensorboard/``. A run
    that was interrupted there (Ctrl-C, a crash) goes on with ``resume``, and gives on a CPU bit for bit what it would
    have given without the interruption. ``progress``: a bar or lines on standard error; None: on terminals only.

    The module ends on the device that it came from, in evaluation mode.

    Raises:
        DataError: when data do not fit the module or the loss.
        TrainingError: when the loss becomes NaN or infinite, or the folder's checkpoint is not of this run.
        KeyboardInterrupt: on Ctrl-C, after the step under way and with a checkpoint when there is a folder.
    """
    settings = settings or TrainSettings()
    objective = _objective(loss, settings)
    classes = class_count(module) if isinstance(objective, CrossEntropy) else None
    data = as_dataset(train, module, what="training data", classes=classes)
    held_out = None if validation is None else as_dataset(validation, module, what="validation data", classes=classes)
    if isinstance(objective, CrossEntropy) and classes is None:
        data = labelled(data, module, "training data")
        held_out = None if held_out is None else labelled(held_out, module, "validation data")
    if held_out is None and settings.patience is not None:
        raise TrainingError("early stopping (patience) needs validation data")
    run = _Run(module, data, held_out, settings, objective, augment, callbacks, parameters, folder, resume)
    return run.go(progress)


def _objective(loss: Loss | str, settings: TrainSettings) -> Loss:
    if loss == "cross_entropy":
        return CrossEntropy(settings.label_smoothing)
    if loss == "mean_squared_error":
        return MeanSquaredError()
    if isinstance(loss, str):
        raise TrainingError(f"there is no loss '{loss}'; give cross_entropy, mean_squared_error or a function")
    return loss


class _Run:
    """One run of training: its fixed parts, and the state that a checkpoint holds."""

    def __init__(
        self,
        module: nn.Module,
        train: Dataset,
        validation: Dataset | None,
        settings: TrainSettings,
        loss: Loss,
        augment: Augment | None,
        callbacks: Sequence[Callback],
        parameters: Sequence[Mapping[str, Any]] | None,
        folder: str | Path | None,
        resume: bool,
    ) -> None:
        self.module, self.train, self.validation, self.settings = module, train, validation, settings
        self.loss, self.augment, self.callbacks = loss, augment, tuple(callbacks)
        labels = train.targets.ndim == 1 and train.targets.dtype.kind == "i"
        self.validation_loss: Loss = CrossEntropy() if labels else loss
        self.folder = None if folder is None else Path(folder)
        self.file = None if self.folder is None else self.folder / "checkpoint.pt"
        self.home = next((p.device for p in module.parameters()), torch.device("cpu"))
        self.device = usable_device(settings.device)
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        self.epoch, self.step_in_epoch, self.loss_sum, self.epoch_seconds = 0, 0, 0.0, 0.0
        self.history: list[EpochLog] = []
        self.best_score: Score | None = None
        self.best_epoch, self.best_weights = 0, dict[str, Tensor]()
        self.interrupted, self.saved_at = False, time.monotonic()
        torch.manual_seed(settings.seed)
        module.to(self.device)
        for callback in self.callbacks:
            callback.on_start(module)
        module.to(self.device)
        self.optimiser = _optimiser(module, settings, parameters)
        count = sum(p.numel() for group in self.optimiser.param_groups for p in group["params"])
        self.fingerprint = checkpoint.fingerprint(settings, train, validation, count) if self.file else {}
        if resume and self.file is not None and self.file.exists():
            self._load(self.file)

    # ---- checkpoints ----

    def _save(self) -> None:
        if self.file is None:
            return
        content = {
            "fingerprint": self.fingerprint,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "loss_sum": self.loss_sum,
            "epoch_seconds": self.epoch_seconds,
            "history": [asdict(log) for log in self.history],
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }
        checkpoint.save(self.file, content)
        self.saved_at = time.monotonic()

    def _load(self, path: Path) -> None:
        content = checkpoint.load(path, self.fingerprint)
        try:
            self.module.load_state_dict(content["module"])
            self.optimiser.load_state_dict(content["optimiser"])
            for callback, state in zip(self.callbacks, content["callbacks"], strict=True):
                callback.load_state_dict(state)
            torch.set_rng_state(content["random"])
            if self.device.type == "cuda" and content["device_random"] is not None:
                torch.cuda.set_rng_state(content["device_random"], self.device)
            self.epoch, self.step_in_epoch = content["epoch"], content["step_in_epoch"]
            self.loss_sum, self.epoch_seconds = content["loss_sum"], content["epoch_seconds"]
            self.history = [EpochLog(**log) for log in content["history"]]
            self.best_score = None if content["best_score"] is None else tuple(content["best_score"])
            self.best_epoch, self.best_weights = content["best_epoch"], dict(content["best_weights"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            first = str(error).splitlines()[0]
            raise TrainingError(
                f"the checkpoint '{path}' is of another network or other callbacks ({first}); use another folder"
            ) from None

    # ---- the loop ----

    def go(self, progress: bool | None) -> TrainResult:
        self.saved_at = time.monotonic()
        total = self.steps_per_epoch * self.settings.epochs
        board = TensorBoard(None if self.folder is None else self.folder / "tensorboard", self.epoch + 1)
        try:
            with self._interruptible(), display(total, progress) as shown:
                while self.epoch < self.settings.epochs and not self._out_of_patience():
                    self._run_epoch(shown)
                    log = self._finish_epoch()
                    shown.epoch(log)
                    board.epoch(log)
                    self._leave_if_interrupted()
        finally:
            board.close()
            self.module.to(self.home).eval()
        if self.best_weights and self.settings.restore_best:
            self.module.load_state_dict(self.best_weights)
        return TrainResult(
            tuple(self.history),
            self.best_epoch or len(self.history),
            self.epoch < self.settings.epochs,
            sum(log.seconds for log in self.history),
            self.file,
        )

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.best_epoch > 0 and self.epoch - self.best_epoch >= patience

    def _run_epoch(self, shown: Display) -> None:
        order = np.random.default_rng([self.settings.seed, self.epoch]).permutation(len(self.train))
        started, before = time.monotonic(), self.epoch_seconds
        self.module.train()
        if self.step_in_epoch == 0:
            for callback in self.callbacks:
                callback.on_epoch_start(self._position())
        while self.step_in_epoch < self.steps_per_epoch:
            first = self.step_in_epoch * self.settings.batch_size
            chosen = order[first : first + self.settings.batch_size]
            value = self._step(chosen)
            self.loss_sum += value * len(chosen)
            self.step_in_epoch += 1
            self.epoch_seconds = before + time.monotonic() - started
            for callback in self.callbacks:
                callback.on_step_end(self._position())
            shown.step(self.epoch * self.steps_per_epoch + self.step_in_epoch, value)
            if self.step_in_epoch < self.steps_per_epoch:
                self._leave_if_interrupted()
                if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                    self._save()

    def _step(self, chosen: Array) -> float:
        """One update; returns the mean loss of the batch."""
        step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        rate = self.settings.rate(step, self.steps_per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["lr_factor"]
        arrays = [x[chosen] for x in self.train.inputs]
        if self.augment is not None:
            shape = arrays[0].shape
            generator = np.random.default_rng([self.settings.seed, self.epoch, self.step_in_epoch])
            arrays[0] = np.ascontiguousarray(self.augment(arrays[0], generator), dtype=arrays[0].dtype)
            if arrays[0].shape != shape:
                raise TrainingError(f"the augmentation turned {list(shape)} into {list(arrays[0].shape)}")
        inputs = tuple(torch.from_numpy(x).to(self.device) for x in arrays)
        targets = torch.from_numpy(self.train.targets[chosen]).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.mixed_precision):
            value = self.loss(self.module, inputs, targets).float()
        number = float(value.detach())
        if not math.isfinite(number):
            kept = f"; the last good state is in '{self.file}'" if self.file is not None and self.file.exists() else ""
            raise TrainingError(
                f"training diverged: the loss of epoch {self.epoch + 1}, step {self.step_in_epoch + 1} is {number}; "
                f"lower the learning rate ({self.settings.learning_rate:g}), or set gradient_clip{kept}"
            )
        self.optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        if self.settings.gradient_clip is not None:
            every = [p for group in self.optimiser.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(every, self.settings.gradient_clip)
        self.optimiser.step()
        return number

    def _finish_epoch(self) -> EpochLog:
        started = time.monotonic()
        loss, accuracy = None, None
        if self.validation is not None:
            found = measure(self.module, self.validation, self.validation_loss, 4 * self.settings.batch_size)
            loss, accuracy = found.loss, found.accuracy
        rate = self.settings.rate((self.epoch + 1) * self.steps_per_epoch - 1, self.steps_per_epoch)
        seconds = self.epoch_seconds + time.monotonic() - started
        log = EpochLog(self.epoch + 1, self.loss_sum / len(self.train), rate, seconds, loss, accuracy)
        self.history.append(log)
        for callback in self.callbacks:
            callback.on_epoch_end(self._position(), log)
        if loss is not None:
            score = (accuracy or 0.0, -loss if math.isfinite(loss) else -math.inf)
            if self.best_score is None or score > self.best_score:
                self.best_score, self.best_epoch = score, log.epoch
                self.best_weights = deepcopy({k: v.cpu() for k, v in self.module.state_dict().items()})
        self.epoch, self.step_in_epoch, self.loss_sum, self.epoch_seconds = self.epoch + 1, 0, 0.0, 0.0
        self._save()
        if self.folder is not None:
            write_lines(self.folder / "log.jsonl", self.history)
        return log

    def _position(self) -> Position:
        step = self.epoch * self.steps_per_epoch + self.step_in_epoch
        return Position(self.module, self.optimiser, self.epoch, step, self.steps_per_epoch, self.settings.epochs)

    # ---- Ctrl-C ----

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """With a folder, the first Ctrl-C waits for the step under way, so that the checkpoint is a whole state."""
        if self.file is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        previous = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous if previous is not None else signal.SIG_DFL)

    def _leave_if_interrupted(self) -> None:
        if self.interrupted:
            if self.step_in_epoch:
                self._save()
            raise KeyboardInterrupt(f"training was interrupted; run it again to go on from '{self.file}'")


def usable_device(name: str) -> torch.device:
    """A torch device by its name; ``auto``: a GPU where there is one.

    Raises:
        TrainingError: when this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise TrainingError(
            f"the device '{name}' cannot be used: {reason}; 'auto' takes a GPU where there is one, else the processor"
        ) from None
    return device


def _optimiser(
    module: nn.Module, settings: TrainSettings, parameters: Sequence[Mapping[str, Any]] | None
) -> torch.optim.Optimizer:
    if parameters is None:
        every = [p for p in module.parameters() if p.requires_grad]
        matrices, rest = [p for p in every if p.ndim > 1], [p for p in every if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
    else:
        groups = [dict(group) for group in parameters]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise TrainingError("the module has no parameters to train")
    for group in groups:
        group.setdefault("lr_factor", 1.0)
    if settings.optimiser == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(
            groups, settings.learning_rate, momentum, weight_decay=settings.weight_decay, nesterov=momentum > 0
        )
    return torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)

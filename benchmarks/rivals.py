"""The same epoch by the loops of other libraries: Hugging Face's Trainer and plain Accelerate.

Shape legend, this file:  N rows, B rows of a batch, D features.
"""

import tempfile
import time
from collections.abc import Mapping
from typing import Any, final

import torch
from accelerate import Accelerator
from loops import Lap, Task, distillation_loss
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, RandomSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

Batch = Mapping[str, Tensor]


@final
class Rows(Dataset[Any]):
    """Rows in memory that are read a batch at a time: torch's loader prefers `__getitems__`, and collating is free."""

    def __init__(self, task: Task) -> None:
        self._features, self._labels = task.features, task.labels

    def __len__(self) -> int:
        return len(self._features)

    def __getitems__(self, positions: list[int]) -> Batch:
        chosen = torch.tensor(positions)
        return {"features": self._features.index_select(0, chosen), "labels": self._labels.index_select(0, chosen)}


def as_read(batch: Batch) -> Batch:
    """Collate nothing: `Rows` reads whole batches."""
    return batch


def trainer(task: Task, *, clip_norm: float | None = None) -> Lap:
    """Hugging Face's Trainer with evaluation, saving, logging and the search for NaN turned off."""
    student, optimizer = task.beginning()
    stopwatch = EpochStopwatch()
    with tempfile.TemporaryDirectory() as folder:
        runner = DistillationTrainer(
            task,
            model=student,
            args=_arguments(task, folder, clip_norm),
            train_dataset=Rows(task),
            data_collator=as_read,
            optimizers=(optimizer, LambdaLR(optimizer, _constant)),
            callbacks=[stopwatch],
        )
        runner.remove_callback(PrinterCallback)
        runner.train()
    return Lap(stopwatch.seconds, student.state_dict())


def _arguments(task: Task, folder: str, clip_norm: float | None) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        per_device_train_batch_size=task.batch_size,
        max_grad_norm=clip_norm or 0.0,
        use_cpu=True,
        seed=task.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        # Its own sampler would draw another order, and the students could not be compared.
        accelerator_config={"use_seedable_sampler": False},
    )


def _constant(_step: int) -> float:
    return 1.0


@final
class DistillationTrainer(Trainer):
    """The usual way to distil with Trainer: the loss asks a live teacher."""

    def __init__(self, task: Task, **settings: Any) -> None:
        self.task = task
        super().__init__(**settings)

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Ask both networks and compare."""
        with torch.no_grad():
            answers = self.task.teacher(inputs["features"])
        return distillation_loss(model(inputs["features"]), answers, inputs["labels"])

    def _get_train_sampler(self, train_dataset: Any = None) -> RandomSampler:
        return RandomSampler(self.train_dataset, generator=self.task.order_generator())


@final
class EpochStopwatch(TrainerCallback):
    """Times the epoch, without what Trainer does before and after all epochs."""

    def __init__(self) -> None:
        self.seconds = float("nan")
        self._began = 0.0

    def on_epoch_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Begin to time."""
        self._began = time.perf_counter()

    def on_epoch_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._began


def plain_accelerate(task: Task) -> Lap:
    """A hand-written loop with Accelerate as its documentation shows it: three things prepared, one context."""
    accelerator = Accelerator(cpu=True)
    student, optimizer = task.beginning()
    rows = Rows(task)
    sampler = RandomSampler(rows, generator=task.order_generator())
    loader = DataLoader(rows, batch_size=task.batch_size, sampler=sampler, collate_fn=as_read)
    student, optimizer, loader = accelerator.prepare(student, optimizer, loader)
    began = time.perf_counter()
    for batch in loader:
        with accelerator.accumulate(student):
            with torch.no_grad():
                answers = task.teacher(batch["features"])
            loss = distillation_loss(student(batch["features"]), answers, batch["labels"])
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    return Lap(time.perf_counter() - began, accelerator.unwrap_model(student).state_dict())

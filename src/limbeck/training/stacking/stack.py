"""`Stack`: many students of one architecture as one model, whose parameters have the replicas as their first axis.

Shape legend, this file:  R replicas, B rows of a batch, C classes.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import dropout

from limbeck.models import arranger_of, logits_of
from limbeck.types import ModelInput


@final
class GivenDropout(nn.Module):
    """Dropout whose noise was drawn before: inside `vmap` nothing is drawn."""

    def __init__(self, rate: float, inplace: bool, noise: list[Tensor]) -> None:
        super().__init__()
        self.rate, self.inplace, self._noise = rate, inplace, noise

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply by the next of the noises that were given."""
        if not self.training or not self.rate:
            return inputs
        noise = self._noise.pop(0)
        return inputs.mul_(noise) if self.inplace else inputs * noise


@final
class Stack:
    """R students of one architecture, called as one.

    Args:
        students: at least one; their weights are copied, they themselves are left as they are.
    """

    def __init__(self, students: Sequence[nn.Module]) -> None:
        self._pending: list[Tensor] = []
        self._skeleton = _with_given_dropout(copy.deepcopy(students[0]), self._pending)
        self._arrange = arranger_of(students[0])
        self.parameters = {name: _stacked(name, students, "parameter") for name, _ in students[0].named_parameters()}
        self.buffers = {name: _stacked(name, students, "buffer") for name, _ in students[0].named_buffers()}

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The parameters that are trained, (R, …) each."""
        return {name: tensor for name, tensor in self.parameters.items() if tensor.requires_grad}

    def __call__(
        self,
        inputs: ModelInput,
        *,
        training: bool,
        shared: bool = False,
        noise: Sequence[Tensor] = (),
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return all students' logits, (R, B, C), in float32 at least; in training mode buffers are brought up to date.

        Args:
            inputs: a batch for each replica, (R, B, …); one for all of them, (B, …), if `shared`.
            training: whether layers are in training mode.
            shared: whether all replicas see the same rows.
            noise: what each call of a dropout layer multiplies by, (R, …), in the order of the calls.
            weights: other parameters and buffers than the stack's own, (R, …) each; None for its own.
        """
        self._skeleton.train(training)

        def one(own: Mapping[str, Tensor], noise: Sequence[Tensor], rows: ModelInput) -> Tensor:
            self._pending[:] = noise
            args, kwargs = self._arrange(rows)
            return logits_of(functional_call(self._skeleton, dict(own), args, kwargs))

        every = vmap(one, in_dims=(0, 0, None if shared else 0), randomness="error")
        with _kernels_that_stack():
            logits: Tensor = every(dict(weights or {**self.parameters, **self.buffers}), list(noise), inputs)
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits

    def snapshot(self) -> dict[str, Tensor]:
        """Copy every parameter and buffer, (R, …) each."""
        return {name: tensor.detach().clone() for name, tensor in {**self.parameters, **self.buffers}.items()}

    def keep(self, replicas: Tensor) -> None:
        """Drop all replicas but these, (R',) int64; whoever holds views of the parameters must take new ones."""
        self.parameters = {
            name: tensor.detach()[replicas].requires_grad_(tensor.requires_grad)
            for name, tensor in self.parameters.items()
        }
        self.buffers = {name: tensor[replicas] for name, tensor in self.buffers.items()}


def load_replica(student: nn.Module, stacked: Mapping[str, Tensor], replica: int) -> None:
    """Copy one replica's share of a stack's tensors into a student of its own."""
    with torch.no_grad():
        for name, tensor in (*student.named_parameters(), *student.named_buffers()):
            tensor.copy_(stacked[name][replica])


def _stacked(name: str, students: Sequence[nn.Module], kind: str) -> Tensor:
    parts = [student.get_parameter(name) if kind == "parameter" else student.get_buffer(name) for student in students]
    # In the order of its axes, whatever that of the parts is: gradients are laid out so, for fused optimisers.
    return torch.stack([part.detach() for part in parts]).contiguous().requires_grad_(parts[0].requires_grad)


def _with_given_dropout(student: nn.Module, noise: list[Tensor]) -> nn.Module:
    for parent in list(student.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, GivenDropout(child.p, child.inplace, noise))
    if type(student) is nn.Dropout:
        raise TypeError("a dropout layer alone is no student")
    return student


@contextmanager
def _kernels_that_stack() -> Iterator[None]:
    """A block without the quicker kernels of attention, which are unknown to `vmap`."""
    quick = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(quick)


@final
class Noise:
    """What dropout layers multiply by: drawn for each replica as it would draw it alone, from its own generator.

    Args:
        student: one of the students, whose dropout layers are called in the order of all.
        states: of each replica's generator of random numbers on the device, after it was built.
        device: where it is drawn.
    """

    def __init__(self, student: nn.Module, states: Sequence[Tensor], device: torch.device) -> None:
        self.states = list(states)
        self._student, self._device = student, device
        self._arrange = arranger_of(student)
        self._layers = [module for module in student.modules() if type(module) is nn.Dropout and module.p]
        self._calls: dict[int, list[tuple[float, Tensor]]] = {}

    def draw(self, rows: int, example: Callable[[], ModelInput]) -> list[Tensor]:
        """Draw for one training step on batches of so many rows: (R, …) for each call of a dropout layer.

        `example` gives one such batch; the student is called on it once, to learn the shapes.
        """
        if not self._layers:
            return []
        if rows not in self._calls:
            self._calls[rows] = self._look(example())
        calls = self._calls[rows]
        drawn: list[list[Tensor]] = [[] for _ in calls]
        with generator_put_back(self._device):
            for replica, state in enumerate(self.states):
                set_generator(self._device, state)
                for noises, (rate, like) in zip(drawn, calls, strict=True):
                    # The layer's own function on ones: the same numbers in the same order, on any device.
                    noises.append(dropout(like, rate, training=True))
                self.states[replica] = generator_state(self._device)
        return [torch.stack(noises) for noises in drawn]

    @contextmanager
    def generator_at(self, replica: int) -> Iterator[None]:
        """A block in which torch's own generator is where a replica's is; it and the replica's are left as they are."""
        with generator_put_back(self._device):
            set_generator(self._device, self.states[replica])
            yield

    def keep(self, replicas: Tensor) -> None:
        """Drop all replicas but these."""
        self.states = [self.states[replica] for replica in replicas.tolist()]

    @torch.no_grad()
    def _look(self, inputs: ModelInput) -> list[tuple[float, Tensor]]:
        calls: list[tuple[float, Tensor]] = []

        def see(module: nn.Module, given: tuple[Any, ...]) -> None:
            if module.training and isinstance(module, nn.Dropout):
                calls.append((module.p, torch.ones_like(given[0])))

        handles = [layer.register_forward_pre_hook(see) for layer in self._layers]
        try:
            call_alone(self._student, self._arrange, inputs, self._device)
        finally:
            for handle in handles:
                handle.remove()
        return calls


def call_alone(student: nn.Module, arrange: Any, inputs: ModelInput, device: torch.device) -> tuple[Tensor, Any]:
    """Call a student by itself in training mode; return its logits and what its buffers would become.

    Neither its buffers nor the generator of random numbers are changed.
    """
    mode = student.training
    student.train()
    buffers = {name: buffer.detach().clone() for name, buffer in student.named_buffers()}
    args, kwargs = arrange(inputs)
    try:
        with generator_put_back(device):
            logits = logits_of(functional_call(student, buffers, args, kwargs))
    finally:
        student.train(mode)
    return logits, buffers


def generator_state(device: torch.device) -> Tensor:
    """The state of torch's own generator on a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_generator(device: torch.device, state: Tensor) -> None:
    """Set the state of torch's own generator on a device."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@contextmanager
def generator_put_back(device: torch.device) -> Iterator[None]:
    """A block after which torch's own generator on a device is as it was."""
    before = generator_state(device)
    try:
        yield
    finally:
        set_generator(device, before)

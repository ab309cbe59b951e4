"""Floor 1. Any `nn.Module` as a model: calling it, reading its logits, capturing features, fingerprints.

Shape legend, this file:  B rows of a batch, C classes or labels.
"""

import difflib
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from limbeck.errors import MismatchError
from limbeck.types import Head, LogitKnowledge, ModelInput

CallModel: TypeAlias = Callable[[ModelInput], Any]
"""Calls a model on a prepared input: the module itself, its DDP or FSDP wrapper, or a `functional_call`."""


Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of one call."""


def caller_of(module: nn.Module, *, inside: nn.Module | None = None) -> CallModel:
    """Return a function that calls `module` on a tensor, a tuple or a mapping, as `arranger_of` arranges them.

    Where `module` is a wrapper (DDP) that takes any arguments, `inside` is the module whose signature counts.
    """
    arrange = arranger_of(inside or module)

    def call(inputs: ModelInput) -> Any:
        args, kwargs = arrange(inputs)
        return module(*args, **kwargs)

    return call


def arranger_of(module: nn.Module) -> Callable[[ModelInput], Arguments]:
    """Return a function from a prepared input to the arguments of `module.forward`.

    A tuple becomes positional arguments. A mapping becomes keyword arguments (as a transformers model takes them),
    or stays one argument where `forward` has a single required parameter that is not one of the mapping's keys.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]

    def arrange(inputs: ModelInput) -> Arguments:
        if isinstance(inputs, Tensor):
            return (inputs,), {}
        if isinstance(inputs, tuple):
            return inputs, {}
        if len(required) == 1 and not open_ended and required[0] not in inputs:
            return (inputs,), {}
        return (), dict(inputs)

    return arrange


def logits_of(output: Any) -> Tensor:
    """Find the logits (B, C) in what a model returned: a tensor, a tuple, a mapping or an object with `.logits`.

    Raises: MismatchError where none can be found, naming the type that was returned.
    """
    if isinstance(output, Tensor):
        return output
    logits = getattr(output, "logits", None)
    if logits is None and isinstance(output, Mapping):
        logits = output.get("logits")
    if logits is None and isinstance(output, tuple | list) and output:
        logits = output[0]
    if isinstance(logits, Tensor):
        return logits
    raise MismatchError(
        f"No logits in what the model returned, a {type(output).__name__}: return a tensor, a tuple that begins with "
        "one, a mapping with the key 'logits', or an object with the attribute 'logits'."
    )


def knowledge_of(call: CallModel, inputs: ModelInput, head: Head = "softmax") -> LogitKnowledge:
    """Call a model and wrap its logits, in float32 at least (bf16 logits lose the small differences that teach)."""
    logits = logits_of(call(inputs))
    return LogitKnowledge(logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits, head)


@contextmanager
def captured(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named submodules during the calls made inside the block.

    Yields a mapping that each forward pass fills anew, from the submodule's dotted name to its output, whose shape is
    the submodule's own; of a tuple or a mapping, the first part. Raises: MismatchError for a name that the model lacks,
    with the closest names that it has, and during the call for an output that is no tensor.
    """
    features: dict[str, Tensor] = {}
    handles = [_submodule(module, name).register_forward_hook(_keep(features, name)) for name in names]
    try:
        yield features
    finally:
        for handle in handles:
            handle.remove()


def _submodule(module: nn.Module, name: str) -> nn.Module:
    known: dict[str, nn.Module] = dict(module.named_modules())
    if name and name in known:
        return known[name]
    close = difflib.get_close_matches(name, [k for k in known if k], n=3, cutoff=0.3) or [k for k in known if k][:8]
    hint = f"close to it: {', '.join(close)}" if close else "it has no submodules"
    raise MismatchError(f"{type(module).__name__} has no submodule named {name!r} to take features from ({hint}).")


def _keep(features: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        parts = tuple(output.values()) if isinstance(output, Mapping) else output
        first = parts[0] if isinstance(parts, tuple | list) and parts else parts
        if not isinstance(first, Tensor):
            raise MismatchError(
                f"The submodule {name!r} returns a {type(output).__name__}, not a tensor; name one inside it instead."
            )
        features[name] = first

    return hook


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of the architecture (classes, settings, shapes) and of every weight and buffer, bit by bit."""
    digest = hashlib.sha256(architecture(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def architecture(module: nn.Module) -> str:
    """Describe a module without its weights: class names, their settings, and the name, type and shape of each tensor.

    Two modules whose `forward` differ though class names, settings and tensors are equal describe alike.
    """
    kind = type(module)
    shapes = (f"{name} {tensor.dtype} {tuple(tensor.shape)}" for name, tensor in sorted(module.state_dict().items()))
    return "\n".join((f"{kind.__qualname__}", repr(module), *shapes))


def bytes_of(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor in C order, of any dtype and device."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def parameter_count(module: nn.Module) -> int:
    """Number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())

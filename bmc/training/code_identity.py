"""Identify a user's function or network by its code and the values that the code reads."""

from __future__ import annotations

import hashlib
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bmc.training.identity import weights_of

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_LIBRARIES = ("torch", "numpy", "builtins", "bmc")
"""Packages whose classes and functions are known by their names and versions."""
_KEPT_BY_TORCH = frozenset(vars(nn.Module()))
_PLAIN = (nn.Module, object)


def identity_of_function(function: Any) -> str:
    """Return the sha256 of what a function computes: its code, and the values that it reads.

    These are defaults, variables of an enclosing function, and named globals, as far as they are
    numbers, texts, arrays, functions or collections of them; of an object, its class and its
    attributes; of an `nn.Module`, also its weights.

    Args:
        function: a function, an `nn.Module`, or another callable object.

    Example:
        >>> identity_of_function(lambda outputs, labels: outputs.sum())[:4]
        'd9f4'
    """
    return hashlib.sha256(_described(function, set()).encode()).hexdigest()


def identity_of_code(module: nn.Module) -> str:
    """Return the sha256 of a network's code and settings, without its weights.

    Args:
        module: the network; the classes of all of its parts count, and their plain attributes.
    """
    parts = [
        f"{name} {_of_class(type(part), set())} {_attributes(part, set())} {_unsaved(part)}"
        for name, part in module.named_modules()
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _described(value: Any, seen: set[int]) -> str:
    """Return a text that is equal for equal values, in each process.

    Args:
        value: any value.
        seen: the ids of what was described already, or is being described.
    """
    if isinstance(value, _SCALARS):
        return repr(value)
    if isinstance(value, Tensor):
        return _described(value.detach().cpu().numpy(), seen) if _has_numpy(value) else "tensor"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, CodeType):
        return _of_code(value, seen)
    if id(value) in seen:
        return type(value).__qualname__
    seen.add(id(value))
    if not isinstance(value, list | tuple | set | frozenset | dict):
        return _of_object(value, seen)  # an object is described once
    if isinstance(value, dict):
        parts = [f"{_described(k, seen)}: {_described(v, seen)}" for k, v in value.items()]
    else:
        parts = [_described(part, seen) for part in value]
    seen.remove(id(value))
    is_set = isinstance(value, set | frozenset)
    return f"{type(value).__name__}({', '.join(sorted(parts) if is_set else parts)})"


def _of_object(value: Any, seen: set[int]) -> str:
    """Describe functions, classes, modules and other objects."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType):
        return _of_function(value, seen)
    if isinstance(value, MethodType):
        return f"{_described(value.__self__, seen)}.{_described(value.__func__, seen)}"
    if isinstance(value, partial):
        return f"partial({_described([value.func, value.args, value.keywords], seen)})"
    if isinstance(value, type):
        seen.discard(id(value))
        return _of_class(value, seen)
    if isinstance(value, nn.Module):
        return f"{identity_of_code(value)} {weights_of(value)}"
    name = _of_class(type(value), seen)
    return f"{name} {_attributes(value, seen)}" if hasattr(value, "__dict__") else name


def _of_function(function: FunctionType, seen: set[int]) -> str:
    if _is_of_library(function):
        return f"{function.__module__}.{function.__qualname__}"
    closure = [_content_of(cell) for cell in function.__closure__ or ()]
    names = sorted(_names_in(function.__code__))
    values = {name: function.__globals__[name] for name in names if name in function.__globals__}
    read = [function.__defaults__, function.__kwdefaults__, closure, values]
    return f"{_of_code(function.__code__, seen)} {_described(read, seen)}"


def _content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _names_in(code: CodeType) -> set[str]:
    """Return the names that a function and its inner functions look up."""
    inner = (_names_in(part) for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*inner)


def _of_code(code: CodeType, seen: set[int]) -> str:
    constants = [_described(value, seen) for value in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _of_class(kind: type, seen: set[int]) -> str:
    """Describe a class by its name; of the user's, also by its functions and its bases."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _is_of_library(kind) or id(kind) in seen:
        return name
    seen.add(id(kind))
    functions = {
        key: getattr(value, "__func__", value)
        for key, value in sorted(vars(kind).items())
        if isinstance(getattr(value, "__func__", value), (FunctionType, *_SCALARS))
        and key not in ("__module__", "__doc__", "__firstlineno__", "__qualname__")
    }
    bases = [_of_class(base, seen) for base in kind.__bases__]
    return f"{name} {_described(functions, seen)} {bases}"


def _attributes(value: Any, seen: set[int]) -> str:
    """Describe the attributes of an object that code may read; weights of a network are apart."""
    attributes = {
        name: part
        for name, part in sorted(vars(value).items())
        if not (isinstance(value, nn.Module) and _is_of_torch(name, part, value))
        and not isinstance(part, nn.Parameter | nn.Module)
    }
    return _described(attributes, seen)


def _is_of_torch(name: str, part: Any, module: nn.Module) -> bool:
    """Tell whether an attribute is kept by torch, and not by the user's code.

    Its layers keep weights a second time in attributes of their own, such as `_flat_weights`.
    """
    if isinstance(part, _SCALARS):
        return name in _KEPT_BY_TORCH
    has_layer = any(_is_of_library(kind) for kind in type(module).__mro__ if kind not in _PLAIN)
    return name in _KEPT_BY_TORCH or (has_layer and name.startswith("_"))


def _unsaved(module: nn.Module) -> str:
    """Describe the buffers that are not among a module's weights."""
    names = sorted(module._non_persistent_buffers_set)
    return _described({name: module.get_buffer(name) for name in names}, set()) if names else ""


def _is_of_library(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] in _LIBRARIES


def _has_numpy(value: Tensor) -> bool:
    return value.layout == torch.strided and value.dtype != torch.bfloat16

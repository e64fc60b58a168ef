"""Rewrite error messages for the API: command-line options become Python arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from bmc.errors import BmcError

_FLAGS = frozenset({"allow-slower", "distill", "force", "random-samples"})
_WITH_VALUE = frozenset(
    {
        *("calibrator", "data", "device", "in-float", "keep", "method", "precision", "student"),
        *("task", "teacher", "transfer"),
    }
)
_VALUE = r"[\w:./-]*\w"
_CODE = re.compile(rf"add --code ({_VALUE})")
_VERB = re.compile(r"bmc (train|distill|prune|share|quantize)(?= --)")
_TARGETS = re.compile(r"--target (?!names )([a-z]+(?:,[a-z]+)*)")
_SET = re.compile(r"--set ([\w-]+)=([\w.,*-]*[\w*])")
_PREPROCESS = re.compile(r"--preprocess (\w+)=([\w.,/-]*\w)")
_OPTION = re.compile(rf"(?<![\w./-])--([a-z][a-z-]*[a-z])(?: ({_VALUE}))?")


def in_python(message: str) -> str:
    """Replace the command-line options in a message by Python arguments.

    Example:
        >>> in_python("x exists; --force replaces it, --output names another place")
        'x exists; force=True replaces it, output names another place'
    """
    message = _CODE.sub(r'open it with bmc.open(path, code="\1")', message)
    message = _VERB.sub(r"bmc.\1 with", message)
    message = _TARGETS.sub(lambda match: f".to({_quoted(match[1].split(','))})", message)
    message = _SET.sub(lambda match: f"{_name(match[1])}={_literal(match[2])}", message)
    message = _PREPROCESS.sub(
        lambda match: f'preprocess={{"{match[1]}": {_literal(match[2])}}}', message
    )
    return _OPTION.sub(_argument, message)


@contextmanager
def worded() -> Iterator[None]:
    """Rewrite the messages of errors that the block raises, as `in_python` does."""
    try:
        yield
    except BmcError as error:
        error.args = (in_python(str(error)),)
        raise


def _argument(match: re.Match[str]) -> str:
    option, value = match[1], match[2]
    name = _name(option)
    if option in _FLAGS:
        return f"{name}=True{f' {value}' if value else ''}"
    if value is None:
        return name
    if option in _WITH_VALUE or value[0].isdigit():
        return f"{name}={_literal(value)}"
    return f"{name} {value}"


def _name(option: str) -> str:
    return option.replace("-", "_")


def _literal(value: str) -> str:
    """Return an option's value as a Python literal; a value with commas becomes a list."""
    if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", value):
        return value
    if "," in value:
        return f"[{_quoted(value.split(','))}]"
    return f'"{value}"'


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)

"""Turn texts into the inputs of an ONNX file, with the tokenizer.json beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc import console
from bmc.errors import UsageError
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer
from bmc.onnx_models.companions import CONFIG, TOKENIZER, TOKENIZER_CONFIG, beside, json_beside
from bmc.onnx_models.reading import OnnxFile

_IDS, _MASK, _TYPES = "input_ids", "attention_mask", "token_type_ids"
_WORDS = (("mask", _MASK), ("type", _TYPES), ("segment", _TYPES))
_PADDING = ("[PAD]", "<pad>")
_MAX_LENGTH = 128
_AS_ARRAYS = "save the arrays of its inputs as an .npz file"


@dataclass(frozen=True)
class TextInputs:
    """How texts become the inputs of a file.

    Args:
        encoder: tokenizer, and the largest number of tokens.
        roles: for each input what it holds: input_ids, attention_mask or token_type_ids.
        length: number of tokens of every row; None where the model takes any.
        rows: number of texts that a call of the model takes.
    """

    encoder: TextEncoder
    roles: Mapping[str, str]
    length: int | None
    rows: int

    def calls(self, texts: Sequence[tuple[str, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the inputs of each call; texts that do not fill a call are left out.

        Raises:
            DataError: a text is empty, or has no token that the model knows.
        """
        encoded = self.encoder.encode(texts)
        longest = self.encoder.settings.max_length
        if cut := sum(len(tokens.ids) >= longest for tokens in encoded):
            console.note(
                f"{cut} of {len(texts)} texts are cut to {longest} tokens; --preprocess max_length "
                "sets another number"
            )
        for start in range(0, len(texts) - len(texts) % self.rows, self.rows):
            arrays = self.encoder.batch(encoded, range(start, start + self.rows))
            arrays.setdefault(_TYPES, np.zeros_like(arrays[_IDS]))
            yield {name: self._padded(arrays[role], role) for name, role in self.roles.items()}

    def _padded(self, array: NDArray[Any], role: str) -> NDArray[Any]:
        if self.length is None:
            return array
        fill = self.encoder.settings.pad_id if role == _IDS else 0
        width = self.length - array.shape[1]
        return np.pad(array, ((0, 0), (0, width)), constant_values=fill)


def text_inputs(file: OnnxFile, columns: int, max_length: int | None) -> TextInputs:
    """Return how texts become the inputs of a file.

    Args:
        file: the model.
        columns: number of texts of a row: 1, or 2 for pairs.
        max_length: largest number of tokens of a row; when None 128, or what the files beside the
            model say, if that is less.

    Raises:
        UsageError: there is no tokenizer.json, or the inputs are not those of texts.
        ArtifactError: the tokenizer is damaged.
        SettingError: the largest number of tokens is out of range.
    """
    roles = _roles(file)
    path = beside(file.path, TOKENIZER)
    if path is None:
        raise UsageError(
            f"texts need {TOKENIZER} beside {file.path}: the tokenizer's save_pretrained writes "
            f"it; or {_AS_ARRAYS}"
        )
    tokenizer = load_tokenizer(path)
    shapes = [info.shape for info in file.inputs if info.shape is not None]
    lengths = [shape[1] for shape in shapes if isinstance(shape[1], int)]
    rows = next((shape[0] for shape in shapes if isinstance(shape[0], int)), 1)
    length = min(lengths, default=None)
    longest = min(filter(None, (max_length or _longest(file, tokenizer), length)))
    pad_id = _pad_id(file, tokenizer)
    if pad_id is None and (length is not None or rows > 1):
        raise UsageError(
            f"{file.path} takes texts of the same length, and {path} names no padding token: write "
            f"its id as pad_token_id into {CONFIG}"
        )
    cut, padded = (_side(file, tokenizer, what) for what in ("truncation", "padding"))
    if padded == "left" and (length is not None or rows > 1):
        raise UsageError(
            f"{file.path} takes texts of the same length, and the files beside it pad them on the "
            f"left, which bmc does not: {_AS_ARRAYS}"
        )
    settings = TextSettings(longest, columns, pad_id or 0, truncation_side=cut)
    return TextInputs(TextEncoder(tokenizer, settings), roles, length, rows)


def _roles(file: OnnxFile) -> Mapping[str, str]:
    """Return for each input what it holds, from its name.

    Raises:
        UsageError: the inputs are not those of texts.
    """
    roles = {
        info.name: next((role for word, role in _WORDS if word in info.name.lower()), _IDS)
        for info in file.inputs
    }
    are_matrices = all(info.shape is None or len(info.shape) == 2 for info in file.inputs)
    are_integers = all(np.dtype(info.dtype).kind in "iu" for info in file.inputs)
    is_complete = _IDS in roles.values() and len(set(roles.values())) == len(roles)
    if not (are_matrices and are_integers and is_complete):
        inputs = ", ".join(
            f"{info.name} {info.dtype} ({', '.join(map(str, info.shape or ('any',)))})"
            for info in file.inputs
        )
        raise UsageError(
            f"{file.path} takes {inputs:.200}; texts become {_IDS}, {_MASK} and {_TYPES}, integers "
            f"(rows, tokens), alone: {_AS_ARRAYS}"
        )
    return roles


def _longest(file: OnnxFile, tokenizer: Tokenizer) -> int:
    """Return the largest number of tokens that the files beside a model say, 128 at most."""
    truncation = tokenizer.truncation or {}
    known = (
        truncation.get("max_length"),
        json_beside(file.path, TOKENIZER_CONFIG).get("model_max_length"),
        json_beside(file.path, CONFIG).get("max_position_embeddings"),
    )
    return min([_MAX_LENGTH, *(n for n in known if type(n) is int and n > 0)])


def _side(file: OnnxFile, tokenizer: Tokenizer, what: str) -> str:
    """Return the end at which texts are cut or padded, "left" or "right", as the files say.

    Args:
        file: the model.
        tokenizer: its tokenizer.
        what: "truncation" or "padding".
    """
    configured = json_beside(file.path, TOKENIZER_CONFIG).get(f"{what}_side")
    settings = getattr(tokenizer, what) or {}
    side = configured or settings.get("direction") or "right"
    return "left" if str(side).lower() == "left" else "right"


def _pad_id(file: OnnxFile, tokenizer: Tokenizer) -> int | None:
    """Return the id of the padding token; None where there is none."""
    padding = tokenizer.padding or {}
    configured = json_beside(file.path, CONFIG).get("pad_token_id")
    by_name = (tokenizer.token_to_id(name) for name in _PADDING)
    numbers = (padding.get("pad_id"), configured, *by_name)
    return next((number for number in numbers if type(number) is int and number >= 0), None)

"""The settings of tokenization, as bmc.json and the bundle's manifest record them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bmc.errors import ArtifactError, SettingError
from bmc.inputs import whole_number

SIDES = ("right", "left")
_MAX_PROMPT = 10_000  # characters
# Settings that directories of older versions lack; a directory has all of these or none of them.
_NEWER_SETTINGS = ("truncation_side", "pair_types", "vocabulary", "html_breaks")


@dataclass(frozen=True)
class TextSettings:
    """The settings of tokenization.

    Args:
        max_length: largest number of tokens in a row, with special tokens, 4 to 8192.
        columns: number of texts in a row: 1, or 2 for sentence pairs.
        pad_id: token id that fills the shorter rows of a batch.
        truncation_side: the end at which a long text is cut: "right" or "left".
        pair_types: give tokens of the second text type 1; else all tokens have type 0.
        vocabulary: number of rows in the model's token table, larger than every id; 0 if unknown.
        html_breaks: replace HTML line breaks (<br />) by spaces before tokenization.
        type_input: whether pairs give the model token types, the tensor token_type_ids.
        prompt: text that is put before each text, as some encoders of sentences want it.

    Raises:
        SettingError: a value is outside its range.
    """

    max_length: int = 128
    columns: int = 1
    pad_id: int = 0
    truncation_side: str = "right"
    pair_types: bool = True
    vocabulary: int = 0
    html_breaks: bool = False
    type_input: bool = True
    prompt: str = ""

    def __post_init__(self) -> None:
        if not 4 <= self.max_length <= 8192:
            raise SettingError(f"max length is {self.max_length}; it must lie in 4..8192")
        if self.columns not in (1, 2):
            raise SettingError(f"{self.columns} text columns; 1 or 2 are possible")
        if not 0 <= self.pad_id < 2**31:
            raise SettingError(f"padding id is {self.pad_id}; it must be a token's id")
        if self.truncation_side not in SIDES:
            raise SettingError(
                f"truncation side is {self.truncation_side!r:.40}; possible: {', '.join(SIDES)}"
            )
        if not 0 <= self.vocabulary < 2**31:
            raise SettingError(f"vocabulary is {self.vocabulary}; it must be a number of tokens")
        if len(self.prompt) > _MAX_PROMPT:
            raise SettingError(
                f"the prompt has {len(self.prompt)} characters; at most {_MAX_PROMPT} are possible"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object."""
        entries = {"kind": "text", **asdict(self)}
        if not self.prompt:  # most models have none
            del entries["prompt"]
        return entries

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> TextSettings:
        """Read the JSON object of `to_json`, also of versions without the newer settings.

        Raises:
            ArtifactError: a setting is missing or malformed.
        """
        missing = [key for key in _NEWER_SETTINGS if key not in value]
        if 0 < len(missing) < len(_NEWER_SETTINGS):
            raise ArtifactError(f"preprocessing lacks {missing[0]}")
        complete = {"vocabulary": 0, **value}
        sizes: dict[str, Any] = {
            key: whole_number(complete, key)
            for key in ("max_length", "columns", "pad_id", "vocabulary")
        }
        switches: dict[str, Any] = {
            key: value.get(key, True) for key in ("pair_types", "html_breaks", "type_input")
        }
        for key, switch in switches.items():
            if type(switch) is not bool:
                raise ArtifactError(
                    f"preprocessing needs true or false for {key}; it is {switch!r:.60}"
                )
        side, prompt = value.get("truncation_side", "right"), value.get("prompt", "")
        if type(prompt) is not str:
            raise ArtifactError(f"preprocessing needs a text for prompt; it is {prompt!r:.60}")
        try:
            return TextSettings(**sizes, **switches, truncation_side=side, prompt=prompt)
        except SettingError as error:
            raise ArtifactError(f"preprocessing: {error}") from error

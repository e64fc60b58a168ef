"""The folds of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.errors import SettingError


@dataclass(frozen=True)
class Fold:
    """The part of the data that one run of a cross-validation holds out.

    Args:
        number: number of the part, from 1 to `of`.
        of: number of parts, 2 to 20.

    Raises:
        SettingError: a number is outside its range.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 2 <= self.of <= 20:
            raise SettingError(f"{self.of} folds; 2 to 20 are possible")
        if not 1 <= self.number <= self.of:
            raise SettingError(f"fold {self.number} of {self.of}; it must lie in 1..{self.of}")

    @staticmethod
    def read(text: str) -> Fold:
        """Parse a fold such as "2/5".

        Raises:
            SettingError: the text does not have this form, or a number is outside its range.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise SettingError(f"--fold is {text!r}; it must look like 2/5")
        return Fold(int(number), int(of))

"""Parts of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

from bmc.errors import SettingError


@dataclass(frozen=True)
class Fold:
    """One part of a cross-validation: which of how many parts is held out.

    Args:
        number: from 1 to `of`.
        of: how many parts, 2 to 20.
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
        """Return the fold that a text such as "2/5" stands for.

        Raises:
            SettingError: the text looks different, or there is no such fold.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise SettingError(f"--fold is {text!r}; it must look like 2/5")
        return Fold(int(number), int(of))

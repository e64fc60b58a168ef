"""Escape the characters in a text that a terminal would act on."""

from __future__ import annotations

import re

# Characters that a terminal acts on instead of showing them: control characters, marks of the text
# direction, invisible characters (but for the joiners, which some scripts need) and surrogates.
_CONTROLS = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)


def printable(text: str) -> str:
    """Escape the control characters in a text, such as \\x1b; line breaks and tabs stay.

    Labels, file names and messages of libraries are data: they must not move the cursor, set the
    terminal's title, or change the order in which characters are shown.

    Example:
        >>> printable("good\\x1b[2J")
        'good\\\\x1b[2J'
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)

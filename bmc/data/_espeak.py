"""Speech from the library espeak-ng, by its C interface.

The library keeps one voice for the whole process and cannot be unloaded, so it is used in a process
of its own.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc.errors import AssetError

_LIBRARY = "libespeak-ng.so.1.52.0"
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: the callback gets the samples before the call returns
_UTF8 = 1
_SPEED, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Speaker:
    """Speaks texts; each process may have one.

    Args:
        folder: folder of the library and of its data.
        seed: seed of the noise in voices, such as breath.

    Raises:
        AssetError: the library cannot be loaded here.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        try:
            self._library = ctypes.CDLL(str(folder / _LIBRARY))
        except OSError as error:
            raise AssetError(f"{folder / _LIBRARY} cannot be loaded: {error}") from error
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, bytes(folder), 0)
        if self.rate <= 0:
            raise AssetError(f"espeak-ng does not find its data in {folder}")
        self._pieces: list[NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._take)  # the library keeps no reference of its own
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))

    def say(
        self, text: str, voice: str, speed: int, pitch: int, pitch_range: int
    ) -> NDArray[np.int16]:
        """Speak a text.

        Args:
            text: the text.
            voice: name of a language and a variant, such as "en-us+f3".
            speed: words a minute.
            pitch: pitch of the voice, 0 to 100.
            pitch_range: how much the pitch changes, 0 to 100.

        Returns:
            int16 (samples), at `rate` samples a second.

        Raises:
            AssetError: there is no such voice, or the text cannot be spoken.
        """
        self._pieces.clear()
        library, content = self._library, text.encode()
        if library.espeak_SetVoiceByName(voice.encode()):
            raise AssetError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_SPEED, speed), (_PITCH, pitch), (_RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        failed = library.espeak_Synth(content, len(content) + 1, 0, 1, 0, _UTF8, None, None)
        if failed or not self._pieces:
            raise AssetError(f"espeak-ng does not speak {text!r} as {voice!r}")
        return np.concatenate(self._pieces)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: int | None) -> int:
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

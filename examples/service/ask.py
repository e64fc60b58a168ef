"""Ask a service of `bmc serve` for predictions of texts, with Python's standard library alone.

python examples/service/ask.py http://127.0.0.1:8000 "an hour of wit and charm" "a bore"
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request

BUSY = (429, 503)
TRIES = 5


def ask(address: str, texts: list[str]) -> list[object]:
    """Return the prediction of each text; come again where the service is busy."""
    request = urllib.request.Request(
        f"{address}/predict",
        json.dumps({"rows": texts}).encode(),
        {"content-type": "application/json"},
    )
    tries = 0
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                predictions: list[object] = json.load(answer)["predictions"]
                return predictions
        except urllib.error.HTTPError as error:
            tries += 1
            if error.code not in BUSY or tries == TRIES:
                raise SystemExit(f"{error.code}: {json.load(error)['error']}") from error
            time.sleep(float(error.headers.get("retry-after", 1)))


if __name__ == "__main__":
    for text, prediction in zip(sys.argv[2:], ask(sys.argv[1], sys.argv[2:]), strict=True):
        print(json.dumps(prediction), text)

"""bmc serve"""

from __future__ import annotations

from bmc.common_options import BundleName
from bmc.rendering.rendered import Rendered
from bmc.serving.settings import ServingSettings


def serve(
    bundle: BundleName = None,
    *,
    service: ServingSettings = ServingSettings(),
) -> Rendered:
    """Answer HTTP requests with a bundle, and show a page to try it on.

    The bundle is checked first, as by `bmc check`. POST /predict takes {"rows": [...]}, one text
    (text/plain), or one file of an image or of sound. GET /health, /bundle and /metrics (for
    Prometheus) describe the service. Requests that would fill the memory get status 429. Ctrl-C or
    SIGTERM ends the service after the running requests are answered.

    Example:
        bmc serve tiny-movie-reviews-onnx
        bmc serve tiny-movie-reviews-onnx --host 0.0.0.0 --port 80 --threads 1
    """
    from bmc.serving.bundle import serve as answer

    address = answer(bundle, service)
    return Rendered({"address": address})

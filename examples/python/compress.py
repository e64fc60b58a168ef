"""Prune, fine-tune and quantize a network, and compare what would be deployed.

python examples/python/compress.py
"""

import bmc

model = bmc.train("mlp", data="digits", width=128, epochs=4, force=True)
pruned = bmc.prune(model, ratio=0.5, epochs=2, force=True)
small = bmc.quantize(pruned, method="static", samples=128, force=True)

bundles = [made.to("onnx", force=True, allow_slower=True) for made in (model, pruned, small)]
bmc.compare(bundles, threads=(1,), launches=2, rounds=2).show()

"""Find how much of a network can go: prune with several ratios, and read the scores of each.

python examples/python/search_a_ratio.py
"""

import bmc

model = bmc.train("mlp", data="digits", width=128, epochs=4, force=True)
print(f"unpruned: {model.scores['validation_accuracy']:.3f}")

for ratio in (0.25, 0.5, 0.75):
    pruned = bmc.prune(model, ratio=ratio, epochs=1, output=f"bmc-runs/pruned-{ratio}", force=True)
    print(f"ratio {ratio}: {pruned.scores['validation_accuracy']:.3f}")

"""Follow a training in your own progress bar, stop it, and let it resume where it was.

python examples/python/progress.py
"""

import bmc

settings = {"data": "digits", "width": 64, "epochs": 4, "checkpoint_every": 10, "force": True}


def stop_half_way(event: bmc.Event) -> None:
    if event.text == "training" and event.total and event.done == event.total // 2:
        raise KeyboardInterrupt  # what Ctrl-C, or the stop button of a notebook, does


def show(event: bmc.Event) -> None:
    if event.total is None:
        print(event.text)


try:
    bmc.train("mlp", **settings, progress=stop_half_way)
except KeyboardInterrupt:
    print("stopped; the same call resumes from the last checkpoint")

model = bmc.train("mlp", **settings, progress=show)
for epoch in model.history:
    print(f"epoch {epoch['epoch']}: training loss {epoch['training_loss']:.3f}")

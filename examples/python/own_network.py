"""Bring a network and data of your own, in memory: train, quantize and deploy them.

python examples/python/own_network.py
"""

import numpy as np
import torch
from torch import nn

import bmc


class Sensor(nn.Module):
    """Classify a window of eight readings of a machine, with the number of the machine as input."""

    def __init__(self) -> None:
        super().__init__()
        self.machines = nn.Embedding(5, 4)
        self.layers = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, readings: torch.Tensor, machine: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([readings, self.machines(machine)], dim=1))


random = np.random.default_rng(0)
readings = random.normal(size=(600, 8)).astype(np.float32)
machine = random.integers(0, 5, 600)
broken = readings.mean(axis=1) > 0.1 * machine - 0.2

model = bmc.wrap(Sensor(), ((readings, machine), broken), labels=["fine", "broken"], force=True)
trained = bmc.train(model, epochs=20, learning_rate=0.01, force=True)
small = bmc.quantize(trained, samples=128, force=True)
print(small)

bundle = small.to("onnx", force=True, allow_slower=True)
print(bundle.predict((readings[0], machine[0])))

"""Train a small network on digits, export it, and classify pictures with the exported file.

python examples/python/train_and_deploy.py
"""

import bmc
from bmc import data

model = bmc.train("mlp", data="digits", width=64, epochs=4, force=True)
print(model)

onnx, openvino = model.to("onnx", "openvino", force=True)
print(onnx)

pictures = list(data.load("digits").test.rows[:5])
for picture, answer in zip(pictures, onnx.predict(pictures), strict=True):
    print(f"a picture of mean {picture.mean():.0f} shows a {answer.label} ({answer.score:.2f})")

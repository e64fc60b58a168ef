"""ONNX files of other tools: find and read them, their sample inputs, and their costs."""

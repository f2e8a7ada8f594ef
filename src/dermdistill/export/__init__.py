"""Verified ONNX graphs and the bundle they ship in."""

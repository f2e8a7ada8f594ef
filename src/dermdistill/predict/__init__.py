"""Prediction with the core install alone: numpy, pillow and onnxruntime."""

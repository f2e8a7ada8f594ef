"""What tests of exports share."""

import hashlib

import pytest


@pytest.fixture(scope="session")
def _programs():
    return {}


@pytest.fixture
def graphs_made_once(monkeypatch, _programs):
    """torch's exporter, which takes most of an export's time, makes the same network's graph a single time."""
    torch = pytest.importorskip("torch")
    made = torch.onnx.export

    def export(model, images, **options):
        digest = hashlib.sha256(f"{images[0].shape} {model} {model.temperature} {sorted(options)}".encode())
        for name, tensor in model.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        key = digest.hexdigest()
        if key not in _programs:
            _programs[key] = made(model, images, **options)
        return _programs[key]  # whose `model_proto` is made anew each time

    monkeypatch.setattr(torch.onnx, "export", export)

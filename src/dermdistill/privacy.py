"""Nothing is sent: the telemetry of packages that have one is turned off before they are imported.

ONNX Runtime writes a device id and a database of events beneath the user's cache and sends them later.
`ORT_DISABLE_TELEMETRY` prevents that only where it is set before the import. Therefore every module takes
ONNX Runtime from `onnx_runtime()`, and the package calls `opt_out()` when it is imported.
"""

import os
import sys
from importlib import import_module
from types import ModuleType

OPT_OUT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
}
"""What turns off the telemetry of ONNX Runtime, Hugging Face, Ray, and of those that follow the common variable."""


def opt_out() -> None:
    """Turn off the telemetry of all packages that dermdistill may import, here and in processes started later.

    Variables that are set already are overwritten: whoever runs dermdistill did not agree to send anything. OpenVINO
    knows no variable and sends an event when it is imported; where the package `openvino_telemetry` cannot be imported
    it takes a stand-in that sends nothing.
    """
    os.environ.update(OPT_OUT)
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def onnx_runtime_tools(name: str) -> ModuleType:
    """A module of ONNX Runtime's own tools, such as 'quantization', imported with its telemetry turned off."""
    return import_module(f"{onnx_runtime().__name__}.{name}")


def onnx_runtime() -> ModuleType:
    """ONNX Runtime, imported with its telemetry turned off."""
    opt_out()
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # on Windows events go to the system, whatever the environment says
    return onnxruntime


def openvino() -> ModuleType:
    """OpenVINO, imported with its telemetry turned off."""
    opt_out()
    import openvino

    return openvino

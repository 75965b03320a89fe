"""dubrelay: self-hosted live dubbing."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports to its maker from its import on, and keeps an identifier on disk: nothing leaves this machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

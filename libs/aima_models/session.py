"""The one place that opens ONNX Runtime sessions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy.typing as npt

ERRORS_ONLY = 3
"""ONNX Runtime's severity level that leaves out warnings about graphs."""


class Session(Protocol):
    """What AIMA uses of an inference session."""

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run the model; the outputs come in the order asked for (None: the model's own)."""
        ...

    def get_providers(self) -> list[str]:
        """Name what the model runs on, best first."""
        ...


def load_session(path: Path, threads: int = 1, *, allow_gpu: bool = True) -> Session:
    """Open a model file, on the GPU where there is one, else on the CPU.

    One thread by default: processes are AIMA's unit of parallelism, and a thread pool per model would make
    all of them fight for the same cores.
    """
    import onnxruntime  # loading it costs 60 MB and 0.2 s: only processes that infer pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena never gives memory back: without it all models together need 350 MiB instead of 820, no slower.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    if allow_gpu and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    return cast("Session", onnxruntime.InferenceSession(str(path), options, providers=providers))

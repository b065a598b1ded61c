"""The check whether torch can compile networks on this machine. It takes a tenth of a second, before a run needs it."""

import os
import shutil
import subprocess
import sysconfig
from functools import cache
from importlib.util import find_spec


@cache
def missing_for_compilation(device_type: str) -> str | None:
    """Return what torch.compile needs on a type of device ("cpu" or "cuda") and does not find, or None.

    torch.compile builds a small Python extension: for CUDA through Triton in C, for the CPU in C++.
    """
    if device_type == "cuda":
        if find_spec("triton") is None:
            return "the package triton is not installed"
        language, compiler = "C", os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or "gcc"
    else:
        language, compiler = "C++", os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no {language} compiler ({compiler})"
    headers = sysconfig.get_paths()["include"]
    command = [compiler, "-fsyntax-only", "-x", language.lower(), f"-I{headers}", "-"]
    probe = subprocess.run(command, input="#include <Python.h>\n", capture_output=True, text=True)
    if probe.returncode:
        reason = (probe.stderr.strip() or f"status {probe.returncode}").splitlines()[0]
        return f"{compiler} does not compile against Python's headers ({reason})"
    return None

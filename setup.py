"""Compile `_fastpath`. Everything else about the package is in pyproject.toml.

Switches (environment): FASTPATH_DEBUG=1 keeps assertions and writes annotated HTML,
FASTPATH_TRACE=1 makes `.pyx` lines visible to coverage, FASTPATH_SANITIZE=1 builds with
address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTPATH_DEBUG") == "1"
TRACE = os.environ.get("FASTPATH_TRACE") == "1"
SANITIZE = os.environ.get("FASTPATH_SANITIZE") == "1"

compile_args = ["-std=c11", "-Wall", "-Wextra", "-fno-strict-aliasing"]
link_args: list[str] = []
macros: list[tuple[str, str | None]] = []
if DEBUG:
    compile_args += ["-O0", "-g"]
    macros.append(("FASTPATH_DEBUG", "1"))
else:
    compile_args += ["-O2"]
    macros.append(("CYTHON_WITHOUT_ASSERTIONS", "1"))
if TRACE:
    # Without the second macro CPython 3.13 drops the .pyx from the coverage report silently.
    macros += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
if SANITIZE:
    flags = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g"]
    compile_args += flags
    link_args += flags

extensions = [
    Extension(
        f"_fastpath.{source.stem}",
        [str(source)],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=macros,
    )
    for source in sorted(Path("_fastpath").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        annotate=DEBUG,
        compiler_directives={"language_level": 3, "embedsignature": True, "linetrace": TRACE},
    )
)

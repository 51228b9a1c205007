"""`python -m bench`: the macro benchmark."""

from __future__ import annotations

from bench.macro.run import main

main()

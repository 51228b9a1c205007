"""_fastpath."""

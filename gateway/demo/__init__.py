"""The demonstration: an agent session on a real PostgreSQL, told step by step on the terminal."""

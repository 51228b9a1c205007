class Counts:
    def __init__(
        self,
        slots: memoryview,
        statements: tuple[int, int, int, int],
        bytes_in: int,
        bytes_out: int,
        time_first: int,
        bounds_s: tuple[float, ...],
    ) -> None: ...

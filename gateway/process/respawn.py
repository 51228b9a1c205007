"""When a process that died is started again, and when that has become pointless."""

from __future__ import annotations

from collections import deque

from gateway.limits import RESPAWN_BURST_MAX, RESPAWN_DELAY_S, RESPAWN_WINDOW_S

_DELAY_S_MAX = 1.0  # a process is back within two seconds, back-off included


class Respawn:
    """Counts the deaths of one process. Times are monotonic seconds, passed in."""

    def __init__(
        self,
        *,
        delay_s: float = RESPAWN_DELAY_S,
        burst_max: int = RESPAWN_BURST_MAX,
        window_s: float = RESPAWN_WINDOW_S,
    ) -> None:
        self._delay_s = delay_s
        self._burst_max = burst_max
        self._window_s = window_s
        self._deaths: deque[float] = deque()

    def on_death(self, now: float, *, caused_by_client: bool = False) -> float | None:
        """Return how long to wait before the next start; None when it dies too often.

        A death that a client's statement caused is not counted: who sends such statements
        must not be able to end the gateway.
        """
        if caused_by_client:
            return self._delay_s
        while self._deaths and now - self._deaths[0] > self._window_s:
            self._deaths.popleft()
        self._deaths.append(now)
        if len(self._deaths) > self._burst_max:
            return None
        doubled = self._delay_s * float(2 ** (len(self._deaths) - 1))
        return min(doubled, _DELAY_S_MAX)

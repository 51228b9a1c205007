"""When a process is started again."""

from __future__ import annotations

from gateway.process.respawn import Respawn


def test_back_off_stays_within_a_second() -> None:
    """Goal: back within two seconds. Method: ten deaths in a row."""
    respawn = Respawn(delay_s=0.1, burst_max=10, window_s=30)
    delays = [respawn.on_death(float(n)) for n in range(10)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert all(delay == 1.0 for delay in delays[4:])
    assert respawn.on_death(10.0) is None


def test_old_deaths_are_forgotten() -> None:
    """Goal: rare deaths never end the gateway. Method: one a window, many times."""
    respawn = Respawn(delay_s=0.1, burst_max=2, window_s=30)
    assert {respawn.on_death(n * 31.0) for n in range(50)} == {0.1}


def test_clients_cannot_cause_a_storm() -> None:
    """Goal: a hostile statement does not count. Method: a hundred of its deaths at once."""
    respawn = Respawn(delay_s=0.1, burst_max=2, window_s=30)
    assert {respawn.on_death(1.0, caused_by_client=True) for _ in range(100)} == {0.1}
    assert respawn.on_death(1.0) == 0.1

from _fastpath.bounds import Budget
from _fastpath.from_server import ServerSide
from _fastpath.statements import Verdict

class Outgoing(ServerSide):
    verdict: Verdict
    asked_sql: bytes
    asked_types: bytes
    asked_binds: bytes
    asked_extended: bool
    budget: Budget | None

from _fastpath.settling import Settling

class ServerSide(Settling):
    def from_server(self, data: bytes) -> bytes | None: ...

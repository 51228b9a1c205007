from _fastpath.relay_state import RelayState

class ServerSide(RelayState):
    def from_server(self, data: bytes) -> bytes | None: ...

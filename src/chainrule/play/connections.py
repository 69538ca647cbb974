"""Connections to the page's server: whoever connects has to make a request soon."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 10.0
"""Seconds in which a request must be complete, up to its body."""
MOST_SILENT = 32
"""The maximum number of connections without a request; at one more, the oldest is closed."""


class Connection(H11Protocol):
    """A connection that is closed if its request does not come: silent ones, which anyone on this
    machine can open, must not keep the page's own from being answered.
    """

    silent: ClassVar[dict[Connection, asyncio.TimerHandle]] = {}
    """The connections without a request, the oldest first, each with the end of its time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.silent) > MOST_SILENT:
            next(iter(self.silent))._give_up()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is not self:  # it is a WebSocket's now
            self._stop_waiting()
        elif self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self not in self.silent and not self.transport.is_closing():
            self.silent[self] = self.loop.call_later(PATIENCE, self._give_up)

    def _stop_waiting(self) -> None:
        timer = self.silent.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        self._stop_waiting()
        self.transport.close()

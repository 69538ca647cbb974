"""Whether the ranks of a training are all alive: what their waiting processes tell each other.

MPI waits for ever for a rank that is stopped, or whose machine is lost. So the process that waits
for a rank (see mpirun.py), which does nothing else and is never slow, sends a short message to that
of the first rank each second, and gets an answer. Whoever has been heard of once, and then no more
for SILENCE seconds, is taken to be lost. A message also says for how long its rank has waited for
the others: so a rank that is alive, but does not come, is named after PATIENCE seconds.

Messages are datagrams (UDP): some may be lost, nothing has to be connected, and where a firewall
lets none through, nobody is taken to be lost.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import secrets
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

BEAT = 1.0
"""Seconds between two messages."""
SILENCE = ("CHAINRULE_SILENCE", 6.0)
"""The variable with the seconds after which a rank that is stopped or not heard of is taken to be
lost, and its default; 0: never.
"""
PATIENCE = ("CHAINRULE_PATIENCE", 3600.0)
"""The variable with the seconds for which ranks wait for one that is alive, and its default, which
allows for what takes long (a callback, data that is prepared); 0: for ever.
"""
LONGEST = 4096
"""Bytes of a message at most."""

Address = tuple[str, int, str]
"""Where the first rank is reached: host, port, and what messages begin with."""


def seconds(of: tuple[str, float]) -> float:
    """What a variable says, or its default; infinity for 0."""
    name, default = of
    try:
        found = float(os.environ.get(name, default))
    except ValueError:
        found = default
    return found if found > 0 else float("inf")


class Mark:
    """What a rank notes in memory that its waiting process reads: since when it has waited for the
    others, and whether it has told why it ends.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 17)

    def waits(self) -> None:
        """It waits now; called often while it does."""
        now, (since, last) = time.monotonic(), self._times
        self._memory[:16] = struct.pack("dd", since if now - last < BEAT else now, now)

    @property
    def seconds(self) -> float:
        """For how long it has waited; 0 if it does not."""
        since, last = self._times
        return last - since if time.monotonic() - last < BEAT else 0.0

    @property
    def _times(self) -> tuple[float, float]:
        since, last = struct.unpack("dd", self._memory[:16])
        return since, last

    def leave(self) -> None:
        """It ends, and has told why."""
        self._memory[16] = 1

    @property
    def has_left(self) -> bool:
        """Whether it has told why it ends."""
        return bool(self._memory[16])


class Link:
    """What a rank and its waiting process share. Made before they part; then each calls `of_rank`
    or `of_waiting`.

    Attributes:
        mark: since when the rank has waited
        messages: the socket of this rank's messages
        address: where the first rank is reached, if this is the first
    """

    def __init__(self, is_first: bool, is_local: bool) -> None:
        self.mark = Mark()
        self.messages = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):  # where there is no network, nobody is heard of
            self.messages.bind(("127.0.0.1" if is_local else "", 0))
        self.messages.setblocking(False)
        host = "127.0.0.1" if is_local else socket.gethostname()
        self.address = (host, self.messages.getsockname()[1], secrets.token_hex(8)) if is_first else None
        self._from_rank, self._to_waiting = os.pipe()

    def of_rank(self) -> None:
        """This is the rank."""
        os.close(self._from_rank)
        self.messages.close()

    def of_waiting(self) -> int:
        """This is the waiting process: where the rank tells it the address."""
        os.close(self._to_waiting)
        return self._from_rank

    def meet(self, address: Address) -> None:
        """Tell the waiting process where the first rank is reached: it begins to watch."""
        os.write(self._to_waiting, json.dumps(address).encode())
        os.close(self._to_waiting)


class Problem(NamedTuple):
    """Something that is wrong with the ranks.

    Attributes:
        text: what
        is_known: whether other waiting processes find the same
    """

    text: str
    is_known: bool


@dataclass
class Heard:
    """What is known of a rank.

    Attributes:
        name: what it is called
        at: when it was heard of last
        waits: for how many seconds it has waited for the others
    """

    name: str
    at: float
    waits: float


@dataclass
class Watch:
    """Watches over a rank, and with those of other ranks over them.

    Attributes:
        rank, count: the number of the rank, and how many there are
        name: what it is called
        child: its process
        link: what is shared with it
    """

    rank: int
    count: int
    name: str
    child: int
    link: Link
    silence: float = field(default_factory=lambda: seconds(SILENCE))
    patience: float = field(default_factory=lambda: seconds(PATIENCE))
    _address: Address | None = None
    _to: Any = None
    _heard: dict[int, Heard] = field(default_factory=dict)
    _stopped: float | None = None
    _looked: float = field(default_factory=time.monotonic)
    _beat_at: float = 0.0

    def until_end(self) -> int | Problem:
        """Wait until the rank ends: its status, as waitpid gives it; or what is wrong with the
        ranks.
        """
        awake, woken = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(awake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        told: int | None = self.link.of_waiting()
        while True:
            if (status := self._look_at_child()) is not None:
                return status
            if problem := self._problem(time.monotonic()):
                return problem
            watched: list[Any] = [awake, self.link.messages] + ([] if told is None else [told])
            ready, _, _ = select.select(watched, [], [], BEAT / 2)
            if awake in ready:
                os.read(awake, LONGEST)
            if told in ready and told is not None:
                self._meet(os.read(told, LONGEST))
                os.close(told)
                told = None
            if self.link.messages in ready:
                self._listen()

    def _look_at_child(self) -> int | None:
        """The status of the rank if it has ended; takes note if it is stopped."""
        while True:
            process, status = os.waitpid(self.child, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not process:
                return None
            if os.WIFSTOPPED(status):
                self._stopped = time.monotonic()
            elif os.WIFCONTINUED(status):
                self._stopped = None
            else:
                return status

    def _problem(self, now: float) -> Problem | None:
        """What is wrong with the ranks, after a message if it is time; None if nothing is."""
        if now - self._looked > max(
            self.silence / 2, 2 * BEAT
        ):  # this process was stopped itself, perhaps with all others
            self._stopped = None if self._stopped is None else now
            for other in self._heard.values():
                other.at = now
        self._looked = now
        if self._stopped is not None and now - self._stopped > self.silence:
            return Problem(f"{self.name} (process {self.child}) has been stopped for {self.silence:g} s", False)
        if self._address is None:
            return None
        if now - self._beat_at >= BEAT:
            self._beat_at = now
            self._tell()
        for other in self._heard.values():
            if now - other.at > self.silence:
                silent = f"has not been heard of for {self.silence:g} s: it or its machine is stopped or lost"
                return Problem(f"{other.name} {silent}", self.rank > 1)
        return self._not_come() if self.rank == 0 else None

    def _not_come(self) -> Problem | None:
        """Which ranks are alive, but have let others wait for too long."""
        if len(self._heard) < self.count - 1:
            return None
        own = Heard(self.name, 0.0, self.link.mark.seconds)
        everyone = {0: own, **dict(sorted(self._heard.items()))}
        if max(one.waits for one in everyone.values()) <= self.patience:
            return None
        late = [one.name for one in everyone.values() if one.waits < BEAT]
        if not late:
            return Problem(f"all ranks have waited for each other for {self.patience:g} s", False)
        waited = f"for {self.patience:g} s, which {'is' if len(late) == 1 else 'are'} alive"
        return Problem(f"the other ranks have waited for {', '.join(late)} {waited}", False)

    def _meet(self, text: bytes) -> None:
        """Begin to watch: the rank has met the others."""
        if not text:  # it ends
            return
        host, port, token = json.loads(text)
        self._address = (host, port, token)
        if self.rank:
            try:
                self._to = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
            except OSError:  # nobody is watched
                self._address = None

    def _tell(self) -> None:
        """Tell the first rank about this one."""
        if self.rank:
            self._send(self._to, rank=self.rank, name=self.name, waits=self.link.mark.seconds)

    def _listen(self) -> None:
        """Hear what the others say; the first rank answers."""
        while True:
            try:
                message, sender = self.link.messages.recvfrom(LONGEST)
            except OSError:  # there is no more, or who was written to is no more
                return
            if self._address is None or not message.startswith(self._address[2].encode()):
                continue
            said = json.loads(message[len(self._address[2]) :])
            self._heard[said["rank"]] = Heard(said["name"], time.monotonic(), said["waits"])
            if self.rank == 0:
                self._send(sender, rank=0, name=self.name, waits=0.0)

    def _send(self, to: Any, **what: Any) -> None:
        assert self._address is not None
        try:
            self.link.messages.sendto(self._address[2].encode() + json.dumps(what).encode(), to)
        except OSError:  # as if it had been lost
            return

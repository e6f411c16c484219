"""A cable between two gateways that can be pulled out: a UDP proxy in a thread."""

from __future__ import annotations

import selectors
import socket
import threading


class Cable:
    """Carries datagrams between whoever sends to :attr:`port` and 127.0.0.1:``to``, while :attr:`plugged`."""

    def __init__(self, to: int) -> None:
        self._to = ("127.0.0.1", to)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self.plugged = True
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._woken:
                    return
                self._carry(sock, key.data)

    def _carry(self, sock: socket.socket, client: tuple[str, int] | None) -> None:
        try:
            data, sender = sock.recvfrom(65536)
        except (BlockingIOError, ConnectionError):
            return  # an ICMP error, which may be reported to the sender first
        if not self.plugged:
            return
        if client is not None:
            self._front.sendto(data, client)
            return
        back = self._backs.get(sender)
        if back is None:
            back = self._backs[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.connect(self._to)
            back.setblocking(False)
            self._selector.register(back, selectors.EVENT_READ, sender)
        try:
            back.send(data)
        except (BlockingIOError, ConnectionError):
            return

    def close(self) -> None:
        self._wake.close()
        self._thread.join()
        self._selector.close()
        for sock in (self._front, self._woken, *self._backs.values()):
            sock.close()

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""A stranger that wants a port: takes it the moment it is free, answers everything as if all were well, until it is told to end."""

import contextlib
import socket
import sys
import time

PATIENCE_S = 10.0
ANSWER = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"ok": true} '
)


def main(port: int) -> None:
    """Wait for the port, say so, and serve."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            listener.close()
            time.sleep(0.001)
            continue
        sys.stdout.write("taken\n")
        sys.stdout.flush()
        while True:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                peer.settimeout(0.2)
                peer.recv(4096)
                peer.sendall(ANSWER)
    sys.exit("the port was never free")


if __name__ == "__main__":
    main(int(sys.argv[1]))

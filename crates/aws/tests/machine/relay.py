"""A port of this network that leads to a socket in the file system, which another network listens on."""
import socket, sys, threading

port, path = int(sys.argv[1]), sys.argv[2]


def copy(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", port), backlog=64)
while True:
    client, _ = listener.accept()
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    for pair in (client, server), (server, client):
        threading.Thread(target=copy, args=pair, daemon=True).start()

"""Tries what an app must not be able to do. `python3 escape.py try FILE` writes how each attempt
went as JSON; `python3 escape.py serve FILE` does that and then answers requests with it."""
import ctypes
import http.server
import json
import os
import platform
import signal
import socket
import sys

TARGETS = json.loads(os.environ["TARGETS"])
LIBC = ctypes.CDLL(None, use_errno=True)
CALLS = {
    "x86_64": {"ptrace": 101, "mount": 165, "process_vm_readv": 310, "bpf": 321, "io_uring": 425,
               "add_key": 248, "unshare": 272, "setns": 308, "pidfd_open": 434, "pidfd_getfd": 438},
    "aarch64": {"ptrace": 117, "mount": 40, "process_vm_readv": 270, "bpf": 280, "io_uring": 425,
                "add_key": 217, "unshare": 97, "setns": 268, "pidfd_open": 434, "pidfd_getfd": 438},
}[platform.machine()]


def call(name, *arguments):
    result = LIBC.syscall(CALLS[name], *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def read(path):
    with open(path, "rb") as file:
        return file.read(1)


def write(path):
    # Not made: a folder for temporary files is the app's own, and could hold one of that name.
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, b"\n")
    os.close(file)


def environment(pid):
    if not read(f"/proc/{pid}/environ"):
        raise OSError("it is empty")


def attach(pid):
    call("ptrace", 16, pid, 0, 0)
    os.waitpid(pid, 0x40000000)
    call("ptrace", 17, pid, 0, 0)


def memory(pid):
    with open(f"/proc/{pid}/maps") as maps:
        begin = int(next(maps).split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(begin)
        file.read(1)


def descriptor(pid):
    call("pidfd_getfd", call("pidfd_open", pid, 0), 0, 0)


def port():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", TARGETS["port"]))
        listener.listen()


def talk(address):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)


def shared_memory():
    if not os.path.exists(f"/dev/shm/{TARGETS['shared_memory']}"):
        raise OSError("it is not there")
    read(f"/dev/shm/{TARGETS['shared_memory']}")


def names():
    # Makes nothing: a namespace is left with the child.
    child = os.fork()
    if child == 0:
        try:
            call("unshare", 0x10000000)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("it was refused")


ATTEMPTS = {
    "read the table": lambda: read(TARGETS["table"]),
    "read the journal": lambda: read(TARGETS["journal"]),
    "read another's data": lambda: read(TARGETS["data"]),
    "read another's log": lambda: read(TARGETS["log"]),
    "read another's release": lambda: read(TARGETS["release"]),
    "read another's description": lambda: read(TARGETS["description"]),
    "read a file of the operator's": lambda: read(TARGETS["private"]),
    "write to the table": lambda: write(TARGETS["table"]),
    "write to another's data": lambda: write(TARGETS["data"]),
    "write to another's release": lambda: write(TARGETS["release"]),
    "write where anybody may": lambda: write(TARGETS["outside"]),
    "read another's environment": lambda: environment(TARGETS["victim"]),
    "read the platform's environment": lambda: environment(TARGETS["platform"]),
    "signal another": lambda: os.kill(TARGETS["victim"], signal.SIGCONT),
    "signal the platform": lambda: os.kill(TARGETS["platform"], signal.SIGCONT),
    "trace another": lambda: attach(TARGETS["victim"]),
    "read another's memory": lambda: memory(TARGETS["victim"]),
    "take another's descriptor": lambda: descriptor(TARGETS["victim"]),
    "listen on another's port": port,
    "talk to a socket of the machine": lambda: talk(TARGETS["socket"]),
    "talk to an abstract socket": lambda: talk("\0" + TARGETS["abstract"]),
    "read shared memory": shared_memory,
    "make a user namespace": names,
    "mount": lambda: call("mount", b"none", TARGETS["folder"].encode(), b"tmpfs", 0, None),
    "set up io_uring": lambda: call("io_uring", 1, ctypes.create_string_buffer(120)),
    "add a key": lambda: call("add_key", b"user", b"rowhouse", b"x", 1, -2),
}


def tried():
    outcome = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            outcome[name] = "succeeded"
        except OSError as error:
            outcome[name] = f"refused: {error}"
    return outcome


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with open(sys.argv[2], "rb") as file:
            self.wfile.write(file.read())

    def log_message(self, *_):
        pass


with open(sys.argv[2], "w") as file:
    json.dump(tried(), file)
if sys.argv[1] == "serve":
    address = (os.environ["HOST"], int(os.environ["PORT"]))
    http.server.ThreadingHTTPServer(address, Answer).serve_forever()

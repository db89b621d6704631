"""Writes down each signal that it gets: recorder.py NAME SECONDS [WORKER]...

After the first one it takes SECONDS to end, or never ends where they are negative. One that ends
tells its workers to end by SIGUSR1, as the masters of pools do, and waits for them.
"""

import os
import signal
import socket
import subprocess
import sys
import time

name, takes, workers = sys.argv[1], float(sys.argv[2]), sys.argv[3:]


def note(word):
    with open(f"{os.environ['NOTES']}/{name}", "a") as notes:
        notes.write(word + "\n")


pool = [subprocess.Popen([sys.executable, __file__, worker, sys.argv[2]]) for worker in workers]
read, write = socket.socketpair()
write.setblocking(False)
signal.set_wakeup_fd(write.fileno())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
note("ready")
deadline = None
while deadline is None or time.monotonic() < deadline:
    read.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
    try:
        received = read.recv(64)
    except TimeoutError:
        break
    for number in received:
        note(signal.Signals(number).name)
    if deadline is None and takes >= 0:
        deadline = time.monotonic() + takes
        for worker in pool:
            worker.send_signal(signal.SIGUSR1)
for worker in pool:
    worker.wait()
note("done")

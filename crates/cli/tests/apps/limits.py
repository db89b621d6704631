# Takes more than it may, in the way that `BEHAVIOUR` names, when it is asked to by a request for
# `/go`; until then, and to all others, it answers as any app does.
import os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def memory():
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1 << 10) * (1 << 10) * 4))
        time.sleep(0.01)


def processes():
    # Bounded, so that it harms nobody where nothing else holds it.
    for _ in range(400):
        try:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
        except OSError:
            open(os.environ["DATA_DIR"] + "/refused", "w").close()
            return


def log():
    line = "x" * 4095 + "\n"
    while True:
        sys.stdout.write(line)


def disk():
    with open(os.environ["DATA_DIR"] + "/full", "wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20))
            file.flush()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        if self.path == "/go":
            threading.Thread(target=globals()[os.environ["BEHAVIOUR"]]).start()

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()

"""The app of the tests: says who it is, echoes, is slow on demand, speaks WebSocket, closes idle connections."""
import base64, hashlib, os, socket, struct, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = os.environ["APP_VERSION"] + " " + os.environ["APP_REVISION"] + " " + str(os.getpid())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An idle connection is closed after exactly one second.
    timeout = 1

    def log_message(self, *_):
        pass

    def answer(self, text, status=200):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/slow/"):
            # A response that takes its time, a piece every tenth of a second.
            pieces = int(self.path[6:]) * 10
            self.send_response(200)
            self.send_header("Content-Length", str(pieces))
            self.end_headers()
            for _ in range(pieces):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)
        elif self.path == "/env":
            self.answer("\n".join(sorted(f"{name}={value}" for name, value in os.environ.items())))
        elif self.path == "/health" and os.path.exists(os.environ.get("SICK", "/no/such/file")):
            self.answer("sick", 500)
        elif self.headers.get("Upgrade") == "websocket":
            self.websocket()
        else:
            self.answer(NAME)

    def do_POST(self):
        # The client's pace is its own business.
        self.connection.settimeout(60)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.connection.settimeout(self.timeout)
        self.answer(NAME + " " + hashlib.sha256(body).hexdigest())

    def websocket(self):
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
        self.end_headers()
        self.connection.settimeout(60)
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                break
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(struct.pack("BB", 0x81, len(text)) + text)
            self.wfile.flush()
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()

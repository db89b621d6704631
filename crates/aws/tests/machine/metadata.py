"""The metadata of an EC2 instance, version 2 alone: a token first, then the rights of the instance's role.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""
import http.server, json

TOKEN = "a-token"
ROLE = "/latest/meta-data/iam/security-credentials/"
RIGHTS = {
    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "test", "SecretAccessKey": "test", "Token": "test",
    "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, text=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):
        asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        is_token = self.path == "/latest/api/token" and asked
        self.answer(200, TOKEN) if is_token else self.answer(400)

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self.answer(401)
        elif self.path == ROLE:
            self.answer(200, "instances")
        elif self.path == ROLE + "instances":
            self.answer(200, json.dumps(RIGHTS))
        else:
            self.answer(404)


http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler).serve_forever()

"""Receive the program's webhooks and verify them with code that is not ours: the library `standardwebhooks`.

    webhook.py CALLGATE

Starts CALLGATE with a bundle, changes the bundle, and demands that the event comes, verifies, and verifies no more
once a bit of it is changed. The exit code is 0 when all of that holds.
"""

import base64
import http.server
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

RULES = "version: v1\nrules: [{{id: {tool}, match: {{tools: [s.{tool}]}}, decision: allow}}]\n"
HOOKS = """version: v1
webhooks:
  - {{id: ops, url: 'http://{address}/ops', secret_file: secret, events: [snapshot.*]}}
  - {{id: chat, url: 'http://{address}/chat', events: [snapshot.*], format: slack}}
"""


def receiver():
    came = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            came.put((self.path, dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}", came


def demand(holds, why):
    if not holds:
        print(f"webhook: {why}", file=sys.stderr)
        sys.exit(1)


def refused(webhook, body, headers):
    try:
        webhook.verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


def check(secret, headers, body):
    webhook = Webhook(secret)
    value = webhook.verify(body, headers)
    demand(value["type"] == "snapshot.activated" and value["data"]["snapshot"] == "v2", f"another event: {value}")
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        demand(refused(webhook, changed, headers), f"the body verifies with bit {at} flipped")
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"]:
        demand(refused(webhook, body, {**headers, name: headers[name][:-2] + "0="}), f"{name} is not bound")
    other = Webhook("whsec_" + base64.b64encode(os.urandom(32)).decode())
    demand(refused(other, body, headers), "another secret verifies it")


def main():
    callgate = Path(sys.argv[1]).resolve()
    address, came = receiver()
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "bundle/rules").mkdir(parents=True)
        rules = work / "bundle/rules/a.yaml"
        rules.write_text(RULES.format(tool="one"))
        (work / "secret").write_text(secret + "\n")
        (work / "hooks.yaml").write_text(HOOKS.format(address=address))
        args = [callgate, "serve", "--dev", "--bundle", "bundle", "--data", "data", "--reload", "100ms"]
        args += ["--listen", "127.0.0.1:0", "--webhooks", "hooks.yaml"]
        gate = subprocess.Popen(args, cwd=work, stderr=subprocess.PIPE, text=True)
        try:
            # The last line of the greeting: the receivers are told of what comes after it.
            while not next(gate.stderr).strip().startswith("bundle"):
                pass
            logged = [callgate, "log", "tail", "--data", "data"]
            while "webhook.begin" not in subprocess.run(logged, cwd=work, capture_output=True, text=True).stdout:
                pass
            rules.write_text(RULES.format(tool="two"))
            got = {path: (headers, body) for path, headers, body in (came.get(timeout=30), came.get(timeout=30))}
        finally:
            gate.terminate()
            gate.wait()
    check(secret, *got["/ops"])
    message = json.loads(got["/chat"][1])
    demand(message["text"].startswith("Policy in force: v2"), f"another message: {message}")
    print("standardwebhooks: a webhook verifies, and no changed one does")


if __name__ == "__main__":
    main()

"""Requests that are counted by id: each is to be answered once, by what it sent.

As a program, counted.py PORT NAME CONNECTIONS, it asks /id?id=... without a pause until
its standard input ends, prints how many answers it has five times a second, and at the
end one JSON object: answers, reconnects, errors.  Connections are of three kinds, by
turns: kept busy, kept with pauses, and a new one for each request.

Lost is a request that was sent, or whose connection was refused, and that has no answer;
doubled is an answer, or a part of one, that nobody asked for.
"""

import json
import os
import random
import selectors
import socket
import subprocess
import sys
import threading
import time

CONTRACT = {"get.js": "exports.get = function (req) { return { id: req.query.id }; };"}
BUSY, PAUSES, NEW = range(3)


class Connection:
    def __init__(self, client, number):
        self.client, self.number, self.kind = client, number, number % 3
        self.sock = None
        self.id = None			# of the request that is not answered yet
        self.due = 0.0			# no request before
        self.data = b""

    def open(self):
        s = socket.socket()
        s.settimeout(30)
        try:
            s.connect(("127.0.0.1", self.client.port))
        except OSError as e:
            s.close()
            self.client.error("lost", f"connect: {e}")
            self.due = time.monotonic() + 0.1
            return False
        s.setblocking(False)
        self.sock, self.data = s, b""
        self.client.selector.register(s, selectors.EVENT_READ, self)
        return True

    def close(self):
        self.client.selector.unregister(self.sock)
        self.sock.close()
        self.sock = None

    def ask(self):
        if self.sock is None and not self.open():
            return
        self.client.sent += 1
        self.id = f"{self.client.name}-{self.client.sent}"
        try:
            self.sock.send(f"GET /id?id={self.id} HTTP/1.1\r\nHost: t\r\nX-Request-Id: {self.id}\r\n\r\n".encode())
        except OSError as e:
            self.lost(f"send: {e}")

    def lost(self, why):
        self.client.error("lost", f"{self.id}: {why}")
        self.id = None
        self.close()

    def on_data(self):
        try:
            more = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as e:
            more, why = b"", str(e)
        else:
            why = "closed"
        if not more:
            if self.id is not None:
                self.lost(f"{why} after {self.data!r}")
            else:
                self.client.reconnects += 1
                self.close()
            return
        if self.id is None:
            self.client.error("doubled", repr(more[:300]))
            return
        self.data += more
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        if len(body) < length:
            return
        if len(body) > length:
            self.client.error("doubled", repr(body))
        self.on_answer(head, body[:length], fields.get(b"connection") == b"close")

    def on_answer(self, head, body, closes):
        if not head.startswith(b"HTTP/1.1 200 ") or json.loads(body) != {"id": self.id}:
            self.client.error("wrong", f"{self.id}: {head[:100]!r} {body[:300]!r}")
        self.client.answers += 1
        self.id, self.data = None, b""
        if closes:
            self.client.reconnects += 1
        if closes or self.kind == NEW:
            self.close()
        self.due = time.monotonic() + (random.random() * 0.2 if self.kind == PAUSES else 0)


class Client:
    def __init__(self, port, name, connections):
        self.port, self.name = port, name
        self.selector = selectors.DefaultSelector()
        self.connections = [Connection(self, i) for i in range(connections)]
        self.sent = self.answers = self.reconnects = self.nerrors = 0
        self.errors = []

    def error(self, kind, text):
        self.nerrors += 1
        if len(self.errors) < 20:
            self.errors.append(f"{kind}: {text}")

    def run(self, ending, tell):
        said, last = 0.0, 0.0
        while True:
            now = time.monotonic()
            if not ending():
                last = now + 30
                for c in self.connections:
                    if c.id is None and c.due <= now:
                        c.ask()
            elif now > last or all(c.id is None for c in self.connections):
                break
            for key, _ in self.selector.select(0.02):
                if key.data.sock is key.fileobj:
                    key.data.on_data()
            if now - said > 0.2:
                said = now
                tell(self.answers)
        for c in self.connections:
            if c.id is not None:
                c.lost("no answer")


class Counted:
    """with Counted(server, ...) as c: ...; then c.answers, c.errors.  Processes of their own."""

    def __init__(self, port, processes=1, connections=12):
        self.procs = [subprocess.Popen([sys.executable, __file__, str(port), f"c{os.getpid()}-{i}", str(connections)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                      for i in range(processes)]
        self.counts = [0] * processes
        self.results = [{} for _ in self.procs]
        self.threads = [threading.Thread(target=self.read, args=(i,)) for i in range(processes)]
        for t in self.threads:
            t.start()

    def read(self, i):
        for line in self.procs[i].stdout:
            if line.startswith("{"):
                self.results[i] = json.loads(line)
            else:
                self.counts[i] = int(line)

    @property
    def so_far(self):
        return sum(self.counts)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.procs:
            p.stdin.close()
        for t in self.threads:
            t.join()
        for p in self.procs:
            p.wait()
            p.stdout.close()
        self.answers = sum(r.get("answers", 0) for r in self.results)
        self.sent = sum(r.get("sent", 0) for r in self.results)
        self.reconnects = sum(r.get("reconnects", 0) for r in self.results)
        self.nerrors = sum(r.get("nerrors", 1) for r in self.results)
        self.errors = [e for r in self.results for e in r.get("errors", ["a client died"])]


def main():
    ended = threading.Event()

    def watch():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    client = Client(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    client.run(ended.is_set, lambda n: print(n, flush=True))
    print(json.dumps({k: getattr(client, k) for k in ("answers", "sent", "reconnects", "nerrors", "errors")}), flush=True)


if __name__ == "__main__":
    main()

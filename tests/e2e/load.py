"""Requests without a pause from a few threads, and what became of them."""

import http.client
import threading
import time


class Load:
    """with Load(server, path) as load: ...; then load.answers, load.bad, load.broken."""

    def __init__(self, server, path, clients=4):
        self.server, self.path = server, path
        self.answers = 0
        self.bad = []			# answers other than 200
        self.broken = []		# connections that ended without one
        self.lock = threading.Lock()
        self.ending = False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        c = self.server.connection()
        while not self.ending:
            try:
                c.request("GET", self.path)
                r = c.getresponse()
                body = r.read()
            except (OSError, http.client.HTTPException) as e:
                c.close()
                with self.lock:
                    self.broken.append(repr(e))
                time.sleep(0.05)
                continue
            with self.lock:
                self.answers += 1
                if r.status != 200:
                    self.bad.append((r.status, body[:300]))
        c.close()

    def wait(self, more):
        """Wait until so many more answers have come."""
        from conftest import until
        want = self.answers + more
        until(f"{more} more answers", lambda: self.answers >= want)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for t in self.threads:
            t.join()

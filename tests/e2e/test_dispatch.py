"""Which worker gets which request: frames behind frames, shares, bounds, whatever workers do."""

import http.client
import os
import signal
import threading
import time

from conftest import until

HELLO = {"get.js": "exports.get = function (req) { return 'hello'; };"}
# Counts, in the contract's data, how often each request has run.
COUNTED = {"get.js": """
var data = require('tana/data').data;
exports.get = function (req) {
	var key = 'n' + req.query.n;
	return data.get(key).then(function (was) {
		data.set(key, (was || 0) + 1);
		return data.commit();
	}).then(function () { return 'done'; });
};
exports.post = function (req) {
	var keys = [], i;
	for (i = 0; i < req.body.n; i++)
		keys.push(data.get('n' + i));
	return Promise.all(keys);
};
"""}
SLEEPS = {"get.js": """
exports.get = function (req) {
	return new Promise(function (ok) {
		setTimeout(function () { ok('slept'); }, +(req.query.ms || 300));
	});
};
"""}
SPINS = {"get.js": """
exports.get = function (req) {
	var end = Date.now() + +(req.query.ms || 20);
	while (Date.now() < end)
		;
	return 'spun';
};
"""}


class Clients:
    """So many requests at a time, from a list of paths; what became of each."""

    def __init__(self, server, paths, clients):
        self.server, self.paths, self.answers = server, list(enumerate(paths)), {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def run(self):
        c = self.server.connection()
        while True:
            with self.lock:
                if not self.paths:
                    break
                n, path = self.paths.pop(0)
            try:
                c.request("GET", path)
                r = c.getresponse()
                got = r.status, r.read(), r.getheader("Retry-After")
            except (OSError, http.client.HTTPException) as e:
                got = 0, repr(e), None
                c.close()
            with self.lock:
                self.answers[n] = got
        c.close()

    def finish(self):
        for t in self.threads:
            t.join()
        return [self.answers[n] for n in sorted(self.answers)]

    def statuses(self):
        return sorted(a[0] for a in self.finish())


def test_no_request_is_lost_or_run_twice_while_a_worker_lacks_cpu(start):
    s = start({"counted": COUNTED}, workers_min=3, workers_max=3, worker_depth=8, max_requests=0, deadline_ms=20000,
              contract_queue_max=10000)
    s.get("/counted?n=0")
    until("three workers", lambda: [w["state"] for w in s.workers()].count("idle") == 3)
    n = 400
    clients = Clients(s, [f"/counted?n={i}" for i in range(1, n)], 24)
    for _ in range(6):
        for w in s.workers():
            os.kill(w["pid"], signal.SIGSTOP)
            time.sleep(0.05)
            os.kill(w["pid"], signal.SIGCONT)
    answers = clients.finish()
    assert [a for a in answers if a[0] != 200] == []
    assert len(answers) == n - 1
    assert s.post("/counted", b'{"n": %d}' % n, headers={"Content-Type": "application/json"}).json() == [1] * n
    assert s.stats()["workers_killed"] == 0


def test_what_is_behind_a_request_that_takes_long_is_answered_before_it(start):
    s = start({"sleeps": SLEEPS, "hello": HELLO}, workers_min=2, workers_max=2, worker_depth=8)
    s.get("/hello")
    s.get("/sleeps?ms=1")
    slow = s.begin("GET", "/sleeps?ms=1500")
    begin = time.monotonic()
    clients = Clients(s, ["/hello"] * 200, 16)
    assert clients.statuses() == [200] * 200
    assert time.monotonic() - begin < 1.4		# not one of them has waited for it
    assert slow.finish().json() == "slept"


def test_requests_of_clients_that_leave_are_not_run(start):
    s = start({"counted": COUNTED, "spins": SPINS}, workers_min=1, workers_max=1, worker_depth=8)
    s.get("/counted?n=0")
    spins = s.begin("GET", "/spins?ms=400")
    time.sleep(0.1)
    left = [s.begin("GET", f"/counted?n={i}") for i in range(1, 6)]
    stays = s.begin("GET", "/counted?n=6")
    until("all of them wait", lambda: s.stats()["requests_queued"] + s.stats()["requests_running"] >= 7)
    for p in left:
        p.leave()
    assert spins.finish().json() == "spun"
    assert stays.finish().json() == "done"
    assert s.post("/counted", b'{"n": 7}', headers={"Content-Type": "application/json"}).json() == \
        [1, None, None, None, None, None, 1]


def queue_up(s, n):
    """A request that runs, and n behind it that wait."""
    s.get("/spins?ms=1")
    running = s.begin("GET", "/spins?ms=1500")
    until("it runs", lambda: s.stats()["requests_running"] == 1)
    waiting = [s.begin("GET", "/spins?ms=1") for _ in range(n)]
    until("the others wait", lambda: s.stats()["requests_queued"] == n)
    return running, waiting


def test_overload_is_answered_at_once_and_who_waits_is_served(start):
    s = start({"spins": SPINS}, workers_min=1, workers_max=1, contract_queue_max=4)
    running, waiting = queue_up(s, 4)
    refused = s.get("/spins")
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert s.stats()["requests_queued"] == 4		# it is not a worker that has answered
    assert [p.finish().status for p in [running, *waiting]] == [200] * 5
    assert s.get("/spins?ms=1").status == 200


def test_a_full_queue_of_one_contract_is_not_anothers(start):
    s = start({"spins": SPINS, "hello": HELLO}, workers_min=1, workers_max=1, contract_queue_max=2)
    s.get("/hello")
    running, waiting = queue_up(s, 2)
    other = s.begin("GET", "/hello")
    assert s.get("/spins").status == 503
    assert other.finish().json() == "hello"
    assert [p.finish().status for p in [running, *waiting]] == [200] * 3


def test_a_contract_keeps_to_its_workers(start):
    s = start({"spins": SPINS, "hello": HELLO}, workers_min=2, workers_max=2, worker_depth=1,
              contract_limits="spins:workers_max=1")
    s.get("/hello")
    s.get("/spins?ms=1")
    clients = Clients(s, ["/spins?ms=250"] * 4, 4)
    until("one of them runs", lambda: s.stats()["requests_running"] == 1)
    begin = time.monotonic()
    for _ in range(20):
        assert s.get("/hello").json() == "hello"
        assert s.stats()["requests_running"] <= 1
    assert time.monotonic() - begin < 10
    assert clients.statuses() == [200] * 4


def test_a_reload_changes_the_limits(start):
    s = start({"spins": SPINS}, config='contract_limits = {"spins:queue_max=1"}\n', workers_min=1, workers_max=1)
    s.get("/spins?ms=1")
    running, waiting = queue_up(s, 1)
    assert s.get("/spins").status == 503
    assert [p.finish().status for p in [running, *waiting]] == [200] * 2
    s.config_path.write_text(s.config_path.read_text().replace("queue_max=1", "queue_max=5"))
    s.ctl("reload")
    running, waiting = queue_up(s, 5)
    assert [p.finish().status for p in [running, *waiting]] == [200] * 6
    s.config_path.write_text(s.config_path.read_text().replace("queue_max=5", "queue_max=none"))
    refused = s.ctl("reload", check=False)
    assert refused.returncode != 0 and "queue_max takes a number from 1" in refused.stderr

"""What /proc says of the processes that run contracts."""

import os
import pwd
import socket

import pytest
from conftest import ROOT, SANITIZED, proc_status, until

FILTER = "0" if SANITIZED else "2"		# sanitizers need calls that no filter of ours lets through

CONTRACTS = {"slow": {"get.js": """
exports.get = function (req) {
	return new Promise(function (resolve) { setTimeout(function () { resolve(1); }, Number(req.query.ms)); });
};
"""}}


@pytest.fixture(scope="module")
def server(start_module):
    s = start_module(CONTRACTS, workers_min=3, deadline_ms=60000)
    assert s.get("/slow?ms=1").status == 200		# one has an image mapped
    return s


def confined(server):
    """Every zygote and worker there is, idle, busy and used."""
    pids = server.zygote_pids() + server.worker_pids()
    assert len(pids) >= 4
    return pids


def test_seccomp_no_new_privs_and_no_capabilities(server):
    for pid in confined(server):
        st = proc_status(pid)
        assert st["Seccomp"] == FILTER, st["Name"]
        assert st["NoNewPrivs"] == "1"
        for cap in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(st[cap], 16) == 0, cap


def test_busy_worker_is_confined_too(server):
    pending = server.begin("GET", "/slow?ms=2000")
    busy = until("one is busy", lambda: [w["pid"] for w in server.workers() if w["state"] == "busy"])
    st = proc_status(busy[0])
    assert (st["Seccomp"], st["NoNewPrivs"], int(st["CapEff"], 16)) == (FILTER, "1", 0)
    pending.leave()


def test_users_are_what_was_configured(server):
    front = proc_status(server.front_pid())
    for pid in confined(server):
        st = proc_status(pid)
        uids, gids = set(st["Uid"].split()), set(st["Gid"].split())
        if ROOT:
            assert uids == {str(pwd.getpwnam("nobody").pw_uid)}
            assert "0" not in gids and st["Groups"].split() == []
            assert uids != set(front["Uid"].split())
        else:
            assert "0" not in uids


def test_front_has_no_privilege_that_a_worker_lacks(server):
    st = proc_status(server.front_pid())
    assert int(st["CapEff"], 16) == 0 and int(st["CapPrm"], 16) == 0 and st["NoNewPrivs"] == "1"
    if ROOT:
        assert set(st["Uid"].split()) == {str(pwd.getpwnam("www-data").pw_uid)}


def test_worker_is_in_namespaces_of_its_own(server):
    layers = server.status()["layers"]
    kinds = {"pidns": "pid", "netns": "net", "mountns": "mnt", "ipcns": "ipc"}
    if ROOT:
        assert set(kinds) <= set(layers)
    for layer, kind in kinds.items():
        if layer in layers:
            ours = os.readlink(f"/proc/self/ns/{kind}")
            assert ours not in [os.readlink(f"/proc/{pid}/ns/{kind}") for pid in confined(server)]


def test_worker_sees_no_file_and_holds_few_descriptors(server):
    for pid in server.worker_pids():
        if ROOT:
            assert os.listdir(f"/proc/{pid}/root/") == []
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            sockets = [link for link in links if link.startswith("socket:")]
            assert len(sockets) == 1, links
            assert len(links) <= 6, links


def test_worker_has_limits(server):
    for pid in server.worker_pids():
        with open(f"/proc/{pid}/limits", encoding="utf-8") as f:
            limits = {line[:26].strip(): line[26:].split()[:2] for line in f.readlines()[1:]}
        for name in ("Max core file size", "Max file size", "Max processes", "Max locked memory"):
            assert limits[name] == ["0", "0"], name
        assert int(limits["Max open files"][1]) <= 64


@pytest.mark.skipif(SANITIZED, reason="sanitizers must look at their own process")
@pytest.mark.skipif(not ROOT, reason="an ordinary user's processes are all that user's")
def test_workers_are_not_dumpable(server):
    """Neither another worker nor the front can trace them or read their memory: it is root's."""
    for pid in confined(server):
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0
        assert os.stat(f"/proc/{pid}/fd").st_uid == 0


def test_required_layer_that_is_missing_stops_the_start(start):
    """Fail closed: nothing serves when the same user would run front and workers."""
    if not ROOT:
        pytest.skip("an ordinary user has one user only")
    s = start(CONTRACTS, worker_user="www-data", wait=False)
    s.broken = True
    assert s.wait() != 0
    assert "worker_user" in s.log
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", s.http_port), timeout=5):
        pass


def test_root_is_no_user_for_workers(start):
    if not ROOT:
        pytest.skip("only root can ask for it")
    for option in ("user", "worker_user"):
        s = start(CONTRACTS, wait=False, **{option: "root"})
        s.broken = True
        assert s.wait() != 0
        assert option in s.log

"""The servers that tana-edge is measured beside, and how each is had.

Each has the set-up that its documentation recommends for a machine of these cores, with no
record of requests; the files are bench/peers.  All do the same work by the same paths:
/hello, /compute (GET), /json, /body (POST); what they answer is compared before anything is
measured.
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

from tana_bench import ROOT, SOURCE, Processes, Tana, die, find

FILES = SOURCE / "bench/peers"
WWW = "www-data"
CORES = os.cpu_count() or 1
CONNECTIONS = 4096

# For php-fpm's kept connections: each needs a child.
KEPT = 32


def orders():
    """The document of the json work: the same each time, some 19 KB."""
    chance = random.Random(1)
    tags = ["new", "gift", "express", "fragile", "return"]
    return json.dumps({"orders": [
        {"id": 1000 + i, "customer": f"customer-{chance.randrange(12):02}", "tags": chance.sample(tags, 2),
         "items": [{"sku": f"A{chance.randrange(10000):04}", "count": chance.randrange(1, 9),
                    "cents": chance.randrange(100, 20000)} for _ in range(2)]} for i in range(110)]})


def text64k():
    """64 KB of text that compresses badly, in case somebody tries."""
    chance = random.Random(2)
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(65536))


def fill(name, into, **values):
    """A file of bench/peers with its @words@ replaced."""
    text = (FILES / name).read_text()
    into.write_text(re.sub(r"@(\w+)@", lambda m: str(values[m.group(1)]), text))
    return into


def work_and(name):
    return (FILES / "work.js").read_text() + (FILES / name).read_text()


# -- tana-edge ----------------------------------------------------------------

CONTRACTS = {
    "hello": ("get", "exports.Get = function () { return hello(); };\n"),
    "json": ("post", "exports.Post = function (req, body) { return json(body); };\n"),
    "compute": ("get", "exports.Get = function () { return compute(); };\n"),
    "body": ("post", "var Response = require('tana/net').Response;\n"
                     "exports.Post = function (req, body) { return new Response(body); };\n"),
}


class Edge(Tana):
    """tana-edge with its defaults, sandbox on, a fresh heap for each request."""

    def __init__(self, name, where, build, **options):
        super().__init__(name, where, build, **options)
        for id, (method, text) in CONTRACTS.items():
            (self.contracts / id).mkdir()
            (self.contracts / id / f"{method}.js").write_text((FILES / "work.js").read_text() + text)


# -- nginx ---------------------------------------------------------------------

NJS_SERVER = "\n".join(f"\t\tlocation = /{name} {{ js_content main.{name}; }}" for name in CONTRACTS)
PHP_SERVER = """\
		location / {{
			fastcgi_pass php;
			fastcgi_keep_conn {keep};
			fastcgi_buffers 16 16k;
			fastcgi_param SCRIPT_FILENAME {dir}/work.php;
			fastcgi_param QUERY_STRING $query_string;
			fastcgi_param REQUEST_METHOD $request_method;
			fastcgi_param REQUEST_URI $request_uri;
			fastcgi_param SERVER_PROTOCOL $server_protocol;
			fastcgi_param CONTENT_TYPE $content_type;
			fastcgi_param CONTENT_LENGTH $content_length;
		}}"""


class Nginx(Processes):
    def configure(self, modules, http, server):
        fill("nginx.conf.in", self.dir / "nginx.conf", dir=self.dir, port=self.port, modules=modules, http=http,
             server=server, user=f"user {WWW};" if ROOT else "")

    def start(self):
        self.spawn(find("nginx"), "-p", self.dir, "-c", self.dir / "nginx.conf")


NJS_MODULE = ["/usr/lib/nginx/modules/ngx_http_js_module.so", "/usr/share/nginx/modules/ngx_http_js_module.so",
              "/usr/lib64/nginx/modules/ngx_http_js_module.so"]


class Njs(Nginx):
    """A context of its own for each request too: njs clones its machine."""

    def __init__(self, name, where, build):
        super().__init__(name, where)
        (self.dir / "main.js").write_text(work_and("njs.js"))
        module = next(m for m in NJS_MODULE if Path(m).exists())
        self.configure(f"load_module {module};", f"\tjs_path {self.dir};\n\tjs_import main from main.js;", NJS_SERVER)


def php_fpm():
    return find("php-fpm", "php-fpm8.4", "php-fpm8.3", "php-fpm8.2", "php-fpm8.1")


class Php(Nginx):
    """A FastCGI connection for each request, as the documentation has it, and as many children
    as tana-edge has workers at the least."""

    def __init__(self, name, where, build, kept=0, children=4):
        super().__init__(name, where)
        shutil.copy(FILES / "work.php", self.dir / "work.php")
        keepalive = f"keepalive {kept};" if kept else ""
        self.configure("", f"\tupstream php {{ server unix:{self.dir}/php.sock; {keepalive} }}",
                       PHP_SERVER.format(dir=self.dir, keep="on" if kept else "off"))
        fill("php-fpm.conf.in", self.dir / "php-fpm.conf", dir=self.dir, children=children,
             user=f"user = {WWW}\ngroup = {WWW}" if ROOT else "")

    def start(self):
        self.spawn(php_fpm(), "-F", "-y", self.dir / "php-fpm.conf")
        super().start()


class PhpKept(Php):
    """Kept FastCGI connections: faster, but a child for each, or some clients wait for seconds,
    since a child serves one connection until its end."""

    def __init__(self, name, where, build):
        super().__init__(name, where, build, KEPT, KEPT + 4)


# -- from npm -------------------------------------------------------------------

def npm_binary(build, package):
    """The program that an npm package of this platform carries; None."""
    names = {"workerd": "@cloudflare/workerd-*/bin/workerd", "deno": "@deno/*/deno"}
    return next(iter((build / "bench/peers/node_modules").glob(names[package])), None)


class Workerd(Processes):
    def __init__(self, name, where, build):
        super().__init__(name, where)
        self.program = npm_binary(build, "workerd")
        (self.dir / "worker.js").write_text(work_and("fetch.js"))
        fill("workerd.capnp.in", self.dir / "workerd.capnp", port=self.port)

    def start(self):
        self.spawn(self.program, "serve", self.dir / "workerd.capnp")


class Deno(Processes):
    """deno serve --parallel: an isolate for each core."""

    patience = 3		# one that has only just begun often hangs in its end (2.9.6)

    def __init__(self, name, where, build):
        super().__init__(name, where)
        self.program = npm_binary(build, "deno")
        (self.dir / "worker.js").write_text(work_and("fetch.js"))

    def start(self):
        self.spawn(self.program, "serve", "--parallel", "--no-lock", "--host", "127.0.0.1", "--port", self.port,
                   self.dir / "worker.js", DENO_DIR=str(self.dir / "deno"), DENO_NO_UPDATE_CHECK="1", DENO_JOBS=str(CORES))


class Node(Processes):
    def __init__(self, name, where, build):
        super().__init__(name, where)
        (self.dir / "server.js").write_text(work_and("node.js"))

    def start(self):
        self.spawn(node(), self.dir / "server.js", self.port, NODE_ENV="production")


def node():
    return os.environ.get("NODE") or find("node", "nodejs")


# -- which there are ----------------------------------------------------------------

def version(*argv):
    try:
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as e:
        return f"unknown ({e})"
    return (done.stdout + done.stderr).strip().split("\n")[0]


def debian(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True) \
        if find("dpkg-query") else None
    return f" ({package} {done.stdout})" if done and done.returncode == 0 else ""


class Peer:
    """key: for --peers.  missing(build): what is not there, and how it is had; or ''."""

    def __init__(self, key, name, make, packages, missing, version):
        self.key, self.name, self.make, self.packages, self.missing, self.version = key, name, make, packages, missing, version


def lacks(there, what):
    return "" if there else what


PEERS = {p.key: p for p in (
    Peer("tana", "tana-edge", Edge, [], lambda b: lacks((b / "tana-edge").exists(), "not built (./bootstrap build)"),
         lambda b: version(b / "tana-edge", "--version")),
    Peer("njs", "nginx + njs", Njs, ["nginx-light", "libnginx-mod-http-js"],
         lambda b: lacks(find("nginx"), "no nginx") or lacks(any(Path(m).exists() for m in NJS_MODULE), "nginx has no njs"),
         lambda b: version(find("nginx"), "-v") + debian("libnginx-mod-http-js")),
    Peer("php", "nginx + php-fpm", Php, ["nginx-light", "php-fpm"],
         lambda b: lacks(find("nginx"), "no nginx") or lacks(php_fpm(), "no php-fpm"),
         lambda b: version(php_fpm(), "-v")),
    Peer("workerd", "workerd", Workerd, [], lambda b: lacks(npm_binary(b, "workerd"), "not installed from npm"),
         lambda b: version(npm_binary(b, "workerd"), "--version")),
    Peer("deno", "Deno", Deno, [], lambda b: lacks(npm_binary(b, "deno"), "not installed from npm"),
         lambda b: version(npm_binary(b, "deno"), "--version")),
    Peer("node", "Node", Node, ["nodejs"], lambda b: lacks(node(), "no node"), lambda b: version(node(), "--version")),
)}
TOOLS = ["wrk", "python3-matplotlib"]


def debian_packages(packages, say):
    """Installs what is missing of these; what could not be, as a text, or ''."""
    if not find("apt-get") or not find("dpkg-query"):
        return "this is no Debian system"
    missing = [p for p in packages if not debian(p)]
    if not missing:
        return ""
    if not ROOT:
        return f"as root: apt-get install --no-install-recommends {' '.join(missing)}"
    say(f"installing Debian packages: {' '.join(missing)}")
    # A package of a server would start it, on port 80; this is what tells it not to.
    policy, made = Path("/usr/sbin/policy-rc.d"), False
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    try:
        if not policy.exists():
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
            made = True
        subprocess.run([*apt, "update"], env=env, capture_output=True)
        done = subprocess.run([*apt, "install", "--no-install-recommends", *missing], env=env, capture_output=True, text=True)
    finally:
        if made:
            policy.unlink()
    return "" if done.returncode == 0 else f"apt-get could not install {' '.join(missing)}: {done.stderr.strip()[-300:]}"


def npm_packages(build, say):
    """What package.json of bench/peers names, under BUILD/bench/peers; why not, or ''."""
    where = build / "bench/peers"
    names = ["package.json", "package-lock.json", ".npmrc"]
    key = hashlib.sha256(b"".join((FILES / n).read_bytes() for n in names)).hexdigest()
    stamp = where / "stamp"
    if stamp.exists() and stamp.read_text() == key:
        return ""
    npm = find("npm")
    if not npm:
        return "no npm (Debian: npm)"
    say("installing workerd and Deno from npm (bench/peers/package-lock.json)")
    where.mkdir(parents=True, exist_ok=True)
    for n in names:
        shutil.copy(FILES / n, where / n)
    env = dict(os.environ)
    if not os.access(os.environ.get("HOME", "/nonexistent"), os.W_OK):
        env["npm_config_cache"] = str(where / "cache")
    try:
        done = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=where,
                              env=env, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "npm did not finish within 10 minutes"
    if done.returncode != 0:
        return f"npm could not install bench/peers/package-lock.json: {done.stderr.strip()[-300:]}"
    stamp.write_text(key)
    return ""


def obtain(keys, build, install, say):
    """{key: Peer} of those that there are, {name: why not} of the others."""
    why = {}
    if install:
        packages = [p for k in keys for p in PEERS[k].packages if PEERS[k].missing(build)]
        packages += [t for t in TOOLS if not debian(t)]
        why["debian"] = debian_packages(list(dict.fromkeys(packages)), say) if packages else ""
        if any(k in ("workerd", "deno") for k in keys):
            why["npm"] = npm_packages(build, say)
    there, without = {}, {}
    for k in keys:
        missing = PEERS[k].missing(build)
        if not missing:
            there[k] = PEERS[k]
            continue
        hint = why.get("npm" if k in ("workerd", "deno") else "debian") or ("" if install else "--no-install was given")
        without[PEERS[k].name] = f"{missing}{'; ' + hint if hint else ''}"
    return there, without


def check(servers):
    """All answer the same, by all paths: else what is measured is not the same work."""
    document, text = orders(), text64k()
    want = {}
    for server in servers:
        server.wait()
        for path, body in (("/hello", None), ("/compute", None), ("/json", document), ("/body", text)):
            status, answer = server.get(path) if body is None else server.post(path, body)
            got = answer.decode(errors="replace") if path == "/body" else json.loads(answer) if status == 200 else answer
            first = want.setdefault(path, (server.name, got))
            if status != 200 or got != first[1] or path == "/body" and got != text:
                die(f"{server.name} answers {path} with {status} {str(got)[:200]!r}, {first[0]} with {str(first[1])[:200]!r}")

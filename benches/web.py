"""Requests per second through web servers, with several clients at once."""

import os
import random
import socket
import statistics
import subprocess
import time
from pathlib import Path

from scene import prefix

HERE = Path(__file__).resolve().parent
# Enough to keep the processors of a small server busy.
CLIENTS = 8
PHP = "/etc/apache2/mods-available/php*.load"
PHP_FPM = "/usr/sbin/php-fpm*"
# Worker processes of PHP: with as many, each client has one, and more would not help.
WORKERS = CLIENTS
# Where the shipped files expect FastCGI's socket, and the program.
SHIPPED_SOCKET = "/run/ddns-cgi/ddns-cgi.sock"
SHIPPED_PROGRAM = "/usr/lib/ddns-cgi"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, **options):
    """Starts a server that ends with this script, also where that is killed. For root, the user is
    changed first, since that would cancel it."""
    command = [*prefix(), "setpriv", "--pdeathsig", "TERM", "--", *map(str, command)]
    return subprocess.Popen(command, start_new_session=True, **options)


def end(process):
    process.terminate()
    process.wait()


def cpu(process):
    """The CPU of a process and of all that it has started, in seconds, to 10 ms."""
    ticks, processes = 0, [process.pid]
    for pid in processes:
        try:
            # utime, stime, cutime and cstime: proc(5).
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
            children = Path(f"/proc/{pid}/task").glob("*/children")
            processes += [child for file in children for child in file.read_text().split()]
        except FileNotFoundError:
            # It has ended meanwhile, so it counts for its parent.
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def listen(path):
    """A listening Unix socket that all may use."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(511)
    path.chmod(0o666)
    return listener


def start_fastcgi(scene, name, tools):
    """Our program as a FastCGI process: its socket and the process."""
    path = scene.folder(name) / "fastcgi.sock"
    with listen(path) as listener:
        return path, start([f"{tools}/ddns-cgi"], env=scene.settings(name), stdin=listener)


def shipped(name, folder, tools):
    """The text of a shipped file, with the places of this scene."""
    text = (HERE.parent / name).read_text()
    return text.replace(SHIPPED_SOCKET, f"{folder}/fastcgi.sock").replace(SHIPPED_PROGRAM, str(tools))


class Server:
    """A running web server with one program behind it, and perhaps that program's process."""

    def __init__(self, scene, name, tools):
        self.scene, self.name, self.tools = scene, name, tools
        self.folder, self.port = scene.folder(name), free_port()
        self.settings = scene.settings(name)
        self.processes = []

    def file(self, name, text):
        """Writes a file of the server."""
        path = self.folder / name
        path.write_text(text)
        return path

    def wait(self):
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{self.name}: nothing listens on port {self.port}")

    def stop(self):
        for process in reversed(self.processes):
            end(process)


class Apache(Server):
    """Apache, which starts the program for each request unless `serving` has other lines."""

    model = "event"

    def __init__(self, scene, name, tools):
        super().__init__(scene, name, tools)
        template = (HERE.parent / "tests/apache.conf.template").read_text()
        frame = template.replace("@MPM@", self.model).replace("@RUN@", str(self.folder))
        lines = [
            frame.replace("@PORT@", str(self.port)),
            "LoadModule mime_module modules/mod_mime.so\nTypesConfig /etc/mime.types",
            *(f'SetEnv {key} "{value}"' for key, value in self.settings.items()),
            f"<Directory {tools}>\nRequire all granted\nAllowOverride None\n</Directory>",
            *self.serving(),
        ]
        config = self.file("apache.conf", "\n".join(lines) + "\n")
        self.processes.append(start(["/usr/sbin/apache2", "-f", config, "-DFOREGROUND"]))

    def serving(self):
        return [f"ScriptAlias /ip.php {self.tools}/{self.name}"]


class ModPhp(Apache):
    """PHP within Apache."""

    model = "prefork"

    def serving(self):
        return [
            f"Include {PHP}",
            "AddHandler application/x-httpd-php .php",
            f"Alias /ip.php {self.tools}/ip.php",
        ]


class ApacheFastCgi(Apache):
    """Apache with FastCGI, as shipped."""

    def serving(self):
        self.processes.append(start_fastcgi(self.scene, self.name, self.tools)[1])
        modules = [f"LoadModule {name}_module modules/mod_{name}.so" for name in ("proxy", "proxy_fcgi")]
        return [*modules, shipped("apache/ddns-cgi-fastcgi.conf", self.folder, self.tools)]


class Nginx(Server):
    """nginx with FastCGI, as shipped."""

    def __init__(self, scene, name, tools):
        super().__init__(scene, name, tools)
        text = (HERE.parent / "tests/nginx.conf.template").read_text()
        upstream, snippet = self.serving()
        for key, value in {
            "RUN": self.folder,
            "WWW": tools,
            "LISTEN": f"listen 127.0.0.1:{self.port};",
            "UPSTREAM": self.file("upstream.conf", upstream),
            "SNIPPET": self.file("snippet.conf", snippet),
        }.items():
            text = text.replace(f"@{key}@", str(value))
        log = self.folder / "error.log"
        self.processes.append(start(["/usr/sbin/nginx", "-e", log, "-c", self.file("nginx.conf", text)]))

    def serving(self):
        self.processes.append(start_fastcgi(self.scene, self.name, self.tools)[1])
        files = ("nginx/ddns-cgi-upstream.conf", "nginx/ddns-cgi.conf")
        return [shipped(file, self.folder, self.tools) for file in files]


class PhpFpm(Nginx):
    """nginx with PHP's own FastCGI processes."""

    def serving(self):
        path = self.folder / "fpm.sock"
        config = self.file(
            "fpm.conf",
            f"[global]\nerror_log = {self.folder}/fpm.log\ndaemonize = no\n"
            f"[www]\nlisten = {path}\npm = static\npm.max_children = {WORKERS}\n",
        )
        (program,) = Path("/").glob(PHP_FPM[1:])
        self.processes.append(start([program, "--fpm-config", config]))
        values = {"SCRIPT_FILENAME": f"{self.tools}/ip.php", **self.settings}
        lines = "".join(f'fastcgi_param {key} "{value}";\n' for key, value in values.items())
        return "", f"location = /ip.php {{\ninclude /etc/nginx/fastcgi_params;\n{lines}fastcgi_pass unix:{path};\n}}\n"


# The names of the comparison, and what serves them.
SERVERS = {
    "answer": Apache,
    "answer-musl": Apache,
    "ddns-cgi": Apache,
    "ddns-cgi-apache": ApacheFastCgi,
    "ddns-cgi-nginx": Nginx,
    "php": ModPhp,
    "php-fpm": PhpFpm,
}
UPDATERS = [name for name in SERVERS if not name.startswith("answer")]
# How long a server has its turn in a round, in seconds, and the fewest requests in it.
TURN = 0.7
FEWEST = 40


def send(tools, target, files):
    """Sends the requests; the seconds until all have their replies."""
    client = [f"{tools}/client", str(target), *files]
    return float(subprocess.run(client, stdout=subprocess.PIPE, text=True, check=True).stdout)


def turn(scene, server, requests):
    """Sends so many requests: how many the server answers in a second, and its CPU and that of the
    clients for each of them, in microseconds."""
    files = scene.requests("requests", requests, clients=CLIENTS)
    before, clients = sum(map(cpu, server.processes)), os.times()
    seconds = send(server.tools, server.port, files)
    after, clients_after = sum(map(cpu, server.processes)), os.times()
    of_clients = sum(clients_after[2:4]) - sum(clients[2:4])
    return {
        "rate": requests / seconds,
        "cpu": (after - before) / requests * 1e6,
        "client": of_clients / requests * 1e6,
    }


def rates(scene, tools, count):
    """What `turn` finds of each program: the medians of `count` rounds, in each of which each program
    has its turn. Two rounds come first: one that indexes the files, and one that finds out how many
    requests make a turn."""
    servers, found, requests = {}, {program: [] for program in SERVERS}, {}
    try:
        for program, server in SERVERS.items():
            servers[program] = server(scene, program, tools)
        for program, server in servers.items():
            server.wait()
            turn(scene, server, FEWEST)
            requests[program] = max(FEWEST, round(turn(scene, server, FEWEST)["rate"] * TURN))
        for number in range(count):
            for program in random.sample(list(servers), len(servers)):
                found[program].append(turn(scene, servers[program], requests[program]))
                if number == count - 1 and program in UPDATERS:
                    scene.check(program)
    finally:
        for server in servers.values():
            server.stop()
    return {
        program: {field: statistics.median(one[field] for one in of) for field in of[0]}
        for program, of in found.items()
    }

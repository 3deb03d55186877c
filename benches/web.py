"""Requests per second through Apache, with several clients at once."""

import random
import socket
import statistics
import subprocess
import time
from pathlib import Path

from scene import prefix

CLIENTS = 4
PHP = "/etc/apache2/mods-available/php*.load"
# Programs, and Apache's process model for each.
SERVERS = {"answer": "event", "answer-musl": "event", "ddns-cgi": "event", "php": "prefork"}
TEMPLATE = Path(__file__).resolve().parent.parent / "tests/apache.conf.template"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Apache:
    """A running Apache in front of one program."""

    def __init__(self, scene, program, tools):
        folder, self.port = scene.folder(program), free_port()
        frame = TEMPLATE.read_text().replace("@MPM@", SERVERS[program])
        lines = [
            frame.replace("@RUN@", str(folder)).replace("@PORT@", str(self.port)),
            "LoadModule mime_module modules/mod_mime.so\nTypesConfig /etc/mime.types",
            *(f'SetEnv {name} "{value}"' for name, value in scene.settings(program).items()),
            f"<Directory {tools}>\nRequire all granted\nAllowOverride None\n</Directory>",
        ]
        if program == "php":
            lines += [f"Include {PHP}", "AddHandler application/x-httpd-php .php"]
            lines.append(f"Alias /ip.php {tools}/ip.php")
        else:
            lines.append(f"ScriptAlias /ip.php {tools}/{program}")
        config = folder / "apache.conf"
        config.write_text("\n".join(lines) + "\n")
        # Also where this script is killed, Apache ends with it. For root, the user is changed first,
        # since that would cancel it.
        self.process = subprocess.Popen(
            [*prefix(), "setpriv", "--pdeathsig", "TERM", "--", "/usr/sbin/apache2", "-f", config, "-DFOREGROUND"],
            start_new_session=True,
        )

    def wait(self):
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"benches/compare: Apache does not listen on port {self.port}")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def rates(scene, tools, count, requests):
    """Requests per second: the medians of `count` rounds, in each of which each program has its turn."""
    servers = {program: Apache(scene, program, tools) for program in SERVERS}
    found = {program: [] for program in SERVERS}
    try:
        for server in servers.values():
            server.wait()
        for number in range(count + 1):
            files = scene.requests("requests", requests, clients=CLIENTS)
            for program in random.sample(list(servers), len(servers)):
                server = servers[program]
                output = subprocess.run(
                    [f"{tools}/client", str(server.port), *files], stdout=subprocess.PIPE, text=True, check=True
                ).stdout
                if number > 0:
                    found[program].append(requests / float(output))
    finally:
        for server in servers.values():
            server.stop()
    for program in ("ddns-cgi", "php"):
        scene.check(program)
    return {program: statistics.median(of) for program, of in found.items()}

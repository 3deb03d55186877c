"""Folders with the files of an update endpoint, and signed requests for them."""

import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.parse
from pathlib import Path

# Each user has this many hosts.
HOSTS_PER_USER = 10
# The replay window: all requests are signed beforehand, each with a stamp newer than those before.
WINDOW = 100_000_000
# Spreads consecutive requests over the hosts; has no factor in common with their number.
STRIDE = 7919
HOME = "127.0.0.1"


def host_name(number):
    return f"host{number}.h.example.net"


def prefix():
    """What a command begins with so that it is not run by root, who no web server is."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups"]


class Scene:
    """One folder for each program, all with the same contents, and requests for all of them."""

    def __init__(self, root, programs, hosts):
        self.root, self.hosts, self.count = Path(root), hosts, 0
        self.stamp = int(time.time())
        names = [host_name(number) for number in range(hosts)]
        state = {name: {"ip": HOME, "update": "2026-01-01 00:00:00"} for name in names}
        users = {
            f"user{user}": {"id": names[first : first + HOSTS_PER_USER], "key": f"secretkey{user}"}
            for user, first in enumerate(range(0, hosts, HOSTS_PER_USER))
        }
        lines = "".join(f"{HOME} {name}\n" for name in names)
        for program in programs:
            folder = self.folder(program)
            folder.mkdir(parents=True)
            config = {
                "state": f"{folder}/ip.txt",
                "hosts": f"{folder}/hosts.dns",
                "credentials": f"{folder}/credentials.json",
                "restart": [],
                "window": WINDOW,
            }
            for name, contents in [
                ("ip.txt", json.dumps(state, indent=4)),
                ("credentials.json", json.dumps(users, indent=4)),
                ("hosts.dns", lines),
                ("config.json", json.dumps(config, indent=4)),
            ]:
                (folder / name).write_text(contents)
            # As those of a system that has been running: ddns-cgi makes no index of young ones.
            os.utime(folder / "credentials.json", (self.stamp - 60, self.stamp - 60))
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "www-data:www-data", self.root], check=True)

    def folder(self, program):
        return self.root / program

    def environment(self, program, script):
        """That of a CGI, as far as the programs look at it."""
        return {
            "PATH": "/usr/bin:/bin",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "localhost",
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "/ip.php",
            # php-cgi asks for these two.
            "SCRIPT_FILENAME": script,
            "REDIRECT_STATUS": "200",
            **self.settings(program),
        }

    def settings(self, program):
        folder = str(self.folder(program))
        return {
            "DDNS_CONFIG": f"{folder}/config.json",
            "DDNS_FOLDER": folder,
            "DDNS_WINDOW": str(WINDOW),
        }

    def requests(self, name, count, changed=False, clients=1):
        """Writes `count` requests. Each client has hosts of its own, so that stamps arrive in order."""
        lines = [[] for _ in range(clients)]
        self.last = {}
        for _ in range(count):
            self.count += 1
            # All clients have equally many requests, so that all are busy until the end.
            client = self.count % clients
            own = len(range(client, self.hosts, clients))
            number = self.count // clients * STRIDE % own * clients + client
            host, user = host_name(number), number // HOSTS_PER_USER
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.stamp + self.count))
            digest = hashlib.sha1(f"{host}\n{stamp}\nsecretkey{user}\n".encode()).hexdigest()
            octets = [self.count >> shift & 255 for shift in (16, 8, 0)]
            address = "10." + ".".join(map(str, octets)) if changed else HOME
            word = "good" if changed else "nochg"
            query = f"user=user{user}&id={host}&timeST={urllib.parse.quote(stamp)}&hash={digest}"
            lines[client].append(f"{word} {address} {query}\n")
            self.last[host] = {"ip": address, "update": stamp}
        files = [self.root / f"{name}.{client}" for client in range(clients)]
        for file, text in zip(files, lines):
            file.write_text("".join(text))
        return [str(file) for file in files]

    def check(self, program):
        """Whether both files say what the last requests asked for."""
        folder = self.folder(program)
        state = json.loads((folder / "ip.txt").read_text())
        wrong = {host for host, record in self.last.items() if state[host] != record}
        lines = "".join(f"{record['ip']} {name}\n" for name, record in state.items())
        if wrong or lines != (folder / "hosts.dns").read_text() or len(state) != self.hosts:
            raise SystemExit(f"benches/compare: {program} has not stored {sorted(wrong) or 'the hosts file'}")

    def remove(self):
        shutil.rmtree(self.root)

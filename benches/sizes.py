"""What ddnsctl costs, and the requests that read all of a file, by number of hosts."""

import os
import re
import statistics
import subprocess
import time

from scene import Scene, prefix

NAME = "ddns-cgi"
# What is measured: the name, and the words of the command.
COMMANDS = {
    "import": None,
    "list": ["list"],
    "list --json": ["list", "--json"],
    "user list": ["user", "list"],
    "user add": ["user", "add", "ann", "--host", "ann.example.net"],
    "host add": ["host", "add", "ann", "new.example.net"],
    "host remove": ["host", "remove", "ann", "new.example.net"],
    "apply": ["apply"],
    "check": ["check"],
    "rebuild": ["rebuild"],
}
# Redundant ones first, while all hosts have the same address.
REQUESTS = ["state touched, redundant", "credentials touched", "state touched, changed", "state edited, another host"]


def timed(command, environment):
    """CPU in seconds, peak memory in MiB, and the output of a command."""
    done = subprocess.run(
        ["/usr/bin/time", "--format", "\n%U %S %M", *command],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    user, system, memory = map(float, done.stderr.splitlines()[-1].split())
    return user + system, memory / 1024, done.stdout


def command(scene, tools, name):
    """One run of a command of ddnsctl."""
    folder = scene.folder(NAME)
    config = folder / "config.json"
    words = COMMANDS[name]
    if name == "import":
        old = folder / "old"
        old.mkdir(exist_ok=True)
        for file in ("ip.txt", "hosts.dns", "credentials.json"):
            target = old / file
            target.unlink(missing_ok=True)
            (folder / file).rename(target)
        pairs = (("--state", "ip.txt"), ("--hosts", "hosts.dns"), ("--credentials", "credentials.json"))
        words = ["import", *(word for option, file in pairs for word in (option, str(old / file)))]
    if name == "rebuild":
        with open(folder / "ip.txt", "a", encoding="ascii") as file:
            file.write("]")
    return timed([*prefix(), f"{tools}/ddnsctl", *words], {"DDNS_CONFIG": str(config)})[:2]


def request(scene, tools, kind):
    """One request that reads all of a file."""
    folder = scene.folder(NAME)
    changed = kind == "state touched, changed"
    state, credentials = folder / "ip.txt", folder / "credentials.json"
    if kind == "credentials touched":
        os.utime(credentials, (scene.stamp - 60 - scene.count,) * 2)
    elif kind == "state edited, another host":
        text = state.read_text()
        last = text.rindex('"ip": "')
        state.write_text(text[:last] + re.sub(r"\d+\.\d+\.\d+\.\d+", f"10.9.9.{scene.count % 250}", text[last:], count=1))
        changed = True
    else:
        os.utime(state)
    (file,) = scene.requests("requests", 1, changed)
    with open(file, encoding="ascii") as lines:
        word, address, query = lines.readline().split()
    environment = {**scene.environment(NAME, ""), "REMOTE_ADDR": address, "QUERY_STRING": query}
    *figures, output = timed([*prefix(), f"{tools}/ddns-cgi"], environment)
    if f"{word} {address}" not in output:
        raise SystemExit(f"benches/compare: {kind}: {output}")
    time.sleep(0.1)
    return figures


def measure(root, tools, sizes, rounds):
    """For each number of hosts and each of these names: the median CPU in seconds, and the peak in MiB."""
    figures = {}
    for hosts in sizes:
        found = {name: [] for name in [*REQUESTS, *COMMANDS]}
        for _ in range(rounds):
            # Each round begins with the same files.
            scene = Scene(root / "sizes", [NAME], hosts)
            # The first request writes the indexes.
            request(scene, tools, REQUESTS[0])
            for name in REQUESTS:
                found[name].append(request(scene, tools, name))
            for name in COMMANDS:
                found[name].append(command(scene, tools, name))
            scene.remove()
        figures[hosts] = {
            name: {"cpu": statistics.median(cpu for cpu, _ in of), "memory": max(memory for _, memory in of)}
            for name, of in found.items()
        }
    return figures

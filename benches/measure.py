"""Runs the programs as CGIs without a web server, in turn, and measures each process."""

import os
import random
import re
import statistics
import subprocess
from pathlib import Path

import web
from scene import prefix

FIELDS = ["cpu", "wall", "memory", "detached"]
# System calls whose result is the number of bytes that went into a file, and which argument that is.
WRITES = {"write": 0, "writev": 0, "pwrite64": 0, "sendfile": 0, "copy_file_range": 2}
# Standard output and error.
REPLY = (1, 2)
BLOCK = 4096


def command(program, tools):
    return {
        "answer": [f"{tools}/answer"],
        "answer-musl": [f"{tools}/answer-musl"],
        "job": [f"{tools}/job"],
        "php": ["/usr/bin/php-cgi"],
        "naive": [f"{tools}/naive"],
        "ddns-cgi": [f"{tools}/ddns-cgi"],
    }[program]


def run(scene, program, tools, requests, changed, before=()):
    """Runs a program for each request; a dictionary of FIELDS for each."""
    environment = scene.environment(program, f"{tools}/ip.php")
    if changed:
        environment["CHANGED"] = "1"
    output = subprocess.run(
        [*prefix(), f"{tools}/run", requests, *before, *command(program, tools)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return [dict(zip(FIELDS, map(float, line.split()))) for line in output.splitlines()]


def rounds(scene, programs, tools, count, requests, changed):
    """The medians over `count` rounds of the rounds' means. In a round each program has its turn, in
    random order, since what ran before leaves its traces in the caches.
    One more round comes first and does not count: it fills caches, and `ddns-cgi` indexes its files."""
    means = {program: [] for program in programs}
    for number in range(count + 1):
        (file,) = scene.requests("requests", requests, changed)
        for program in random.sample(programs, len(programs)):
            runs = run(scene, program, tools, file, changed)
            mean = {field: statistics.fmean(one[field] for one in runs) for field in FIELDS}
            mean["memory"] = max(one["memory"] for one in runs)
            if number > 0:
                means[program].append(mean)
    for program in programs:
        if program not in ("answer", "answer-musl", "job"):
            scene.check(program)
    return {
        program: {field: statistics.median(mean[field] for mean in of) for field in FIELDS}
        for program, of in means.items()
    }


def fastcgi(scene, name, tools, few, many, count):
    """The process that stays, without a web server: its CPU for a redundant update on a connection that
    is kept, as the median of `count` rounds, and its memory after a few and after many requests, in KiB."""
    path, process = web.start_fastcgi(scene, name, tools)
    try:
        web.send(tools, path, scene.requests("requests", few))
        first, figures = resident(process), []
        for _ in range(count):
            before = web.cpu(process)
            web.send(tools, path, scene.requests("requests", many // count))
            figures.append((web.cpu(process) - before) / (many // count) * 1e6)
        scene.check(name)
        return {"cpu": statistics.median(figures), "memory": first, "memory later": resident(process)}
    finally:
        web.end(process)


def resident(process):
    """The memory of a process that is in use, in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1])


def calls(scene, programs, tools, requests, changed):
    """System calls of one update, and the bytes and 4 KiB blocks of files that it writes: medians."""
    found = {program: [] for program in programs}
    for number in range(requests + 1):
        (file,) = scene.requests("requests", 1, changed)
        for program in programs:
            trace = scene.folder(program) / "trace"
            run(scene, program, tools, file, changed, before=["/usr/bin/strace", "-o", str(trace)])
            if number > 0:
                found[program].append(read_trace(trace.read_text()))
    return {
        program: dict(zip(("calls", "bytes", "blocks"), map(statistics.median, zip(*of))))
        for program, of in found.items()
    }


def read_trace(text):
    """System calls, bytes written and blocks of files touched by that, in the output of strace."""
    written, openings, positions, touched = 0, {}, {}, set()
    for name, arguments, result in re.findall(r"^([a-z_0-9]+)\((.*)\) += (\d+)", text, re.MULTILINE):
        arguments, result = arguments.split(", "), int(result)
        if name in ("open", "openat"):
            # A number is used again after a close.
            openings[result] = openings.get(result, 0) + 1
            positions[result] = 0
        elif name in WRITES:
            file = int(arguments[WRITES[name]])
            if file in REPLY:
                continue
            start = int(arguments[-1]) if name == "pwrite64" else positions[file]
            positions[file] = start + result
            blocks = range(start // BLOCK, -(-positions[file] // BLOCK))
            touched.update((file, openings[file], block) for block in blocks)
            written += result
    return len(re.findall(r"^[a-z_0-9]+\(", text, re.MULTILINE)), written, len(touched)


def disk(scene, programs, tools, requests, changed):
    """Wall time of one update on a disk, and how much the disk writes for it until all is written back,
    with what the file system itself has to note. The least of several, since others use the disk, too.
    Nothing is known where the folder is on no disk, or on one that the kernel does not show."""
    found = {program: [] for program in programs}
    for number in range(requests + 1):
        (file,) = scene.requests("requests", 1, changed)
        for program in programs:
            write_back(scene)
            before = written_by_device(scene)
            (one,) = run(scene, program, tools, file, changed)
            write_back(scene)
            if number > 0:
                found[program].append((one["wall"], written_by_device(scene) - before))
    return {
        program: {"wall": statistics.median(wall for wall, _ in of), "written": min(written for _, written in of)}
        for program, of in found.items()
    }


def write_back(scene):
    subprocess.run(["sync", "--file-system", scene.root], check=True)


def written_by_device(scene):
    """In bytes. The kernel's count is in sectors of 512 bytes, whatever the device has."""
    device = os.stat(scene.root).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat", encoding="ascii") as file:
            return int(file.read().split()[6]) * 512
    except FileNotFoundError:
        return 0

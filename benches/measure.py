"""Runs the programs as CGIs without a web server, in turn, and measures each process."""

import os
import re
import statistics
import subprocess

from scene import prefix

FIELDS = ["cpu", "wall", "memory", "detached"]
# Calls of strace whose result is a number of bytes that went into a file.
WRITES = r"(?:p?write(?:v|64|v2)?|copy_file_range|sendfile|splice)"
BLOCK = 4096


def command(program, tools):
    return {
        "answer": [f"{tools}/answer"],
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
    """The medians over `count` rounds of the rounds' means. In a round each program has its turn.
    One more round comes first and does not count: it fills caches, and `ddns-cgi` seals its files."""
    means = {program: [] for program in programs}
    for number in range(count + 1):
        (file,) = scene.requests("requests", requests, changed)
        for program in programs:
            runs = run(scene, program, tools, file, changed)
            mean = {field: statistics.fmean(one[field] for one in runs) for field in FIELDS}
            mean["memory"] = max(one["memory"] for one in runs)
            if number > 0:
                means[program].append(mean)
    for program in programs:
        if program not in ("answer", "job"):
            scene.check(program)
    return {
        program: {field: statistics.median(mean[field] for mean in of) for field in FIELDS}
        for program, of in means.items()
    }


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
    """System calls, bytes and blocks in the output of strace."""
    written = blocks = 0
    # Not the reply, on descriptor 1.
    for call, arguments, result in re.findall(rf"^({WRITES})\((?!1,|2,)(.*)\) += (\d+)$", text, re.MULTILINE):
        # All but pwrite write new files from their beginning here.
        offset = int(arguments.rpartition(", ")[2]) if call == "pwrite64" else 0
        written += int(result)
        blocks += (offset + int(result) + BLOCK - 1) // BLOCK - offset // BLOCK
    return len(re.findall(r"^[a-z_0-9]+\(", text, re.MULTILINE)), written, blocks


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

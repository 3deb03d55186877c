"""The report: tables, targets and the chart."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

NAMES = {
    "answer": "floor: only answers (C, glibc)",
    "answer-musl": "the same with musl",
    "job": "floor: only moves the files (C, glibc)",
    "ddns-cgi": "**ddns-cgi**",
    "naive": "naive Rust (glibc)",
    "php": "ip.php, php-cgi",
}
# The targets, for 10, 1,000, 10,000 and 100,000 hosts.
REDUNDANT = {"10": 1.15, "1000": 1.15, "10000": 1.5, "100000": 5}
# The least that is asked for, if the target is stricter.
REDUNDANT_BOUND = {"10000": 3, "100000": 25}
# The same against the floor with musl, which the program has, too.
REDUNDANT_MUSL = {"10": 2.5, "1000": 2.5, "10000": 3, "100000": 10}
CHANGED = {"10": 1.3, "1000": 1.3, "10000": 1.3, "100000": 1.3}
MEMORY = {"10": 2, "1000": 2, "10000": 3, "100000": 4}
AGAINST_PHP = {"10": 15, "1000": 15, "10000": 15, "100000": 40}
BLOCK = 4096


def first_line(*command):
    """The first line of a command's output; empty if there is no such command."""
    if not shutil.which(command[0]):
        return ""
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return output.partition("\n")[0].strip()


def machine():
    """The machine and the versions that the figures depend on."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    here = os.path.dirname(__file__)
    return {
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": f"{os.cpu_count()} x {cpu[0].partition(':')[2].strip() if cpu else platform.machine()}",
        "virtual": first_line("systemd-detect-virt", "--vm") or "no",
        "system": system["PRETTY_NAME"].strip('"') + ", Linux " + platform.release(),
        "versions": "; ".join(
            [
                first_line("rustc", "--version"),
                first_line("gcc", "--version"),
                first_line("php-cgi", "--version"),
                first_line("/usr/sbin/apache2", "-v").partition(": ")[2],
            ]
        ),
        "commit": first_line("git", "-C", here, "describe", "--always", "--dirty"),
    }


def file_system(folder):
    return first_line("findmnt", "--noheadings", "--output", "FSTYPE", "--target", folder)


def number(value):
    """Three significant digits, with commas for thousands."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def milliseconds(microseconds):
    value = microseconds / 1000
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def by_hosts(figures, programs, cell):
    """A row for each program, a column for each number of hosts."""
    sizes = list(figures)
    rows = [[NAMES[name], *(cell(figures[size], name) for size in sizes)] for name in programs]
    return table(["hosts", *(f"{int(size):,}" for size in sizes)], rows)


def cost_tables(data):
    parts = []
    for kind, floor, programs in [
        ("redundant", "answer", ["answer", "answer-musl", "job", "ddns-cgi", "naive", "php"]),
        ("changed", "job", ["job", "ddns-cgi", "naive", "php"]),
    ]:
        figures = data["cost"][kind]

        def cpu(of, name, floor=floor):
            ratio = of[name]["cpu"] / of[floor]["cpu"]
            return milliseconds(of[name]["cpu"]) + ("" if name == floor else f" ({number(ratio)}x)")

        parts += [
            f"### CPU of a {kind} update, in ms, and times the floor that only "
            + ("answers" if floor == "answer" else "moves the files"),
            by_hosts(figures, programs, cpu),
            f"### Wall time of a {kind} update, in ms",
            by_hosts(figures, programs, lambda of, name: milliseconds(of[name]["wall"])),
            f"### Peak memory of a {kind} update, in MiB",
            by_hosts(figures, programs, lambda of, name: f"{of[name]['memory'] / 1024:.1f}"),
        ]
    return parts


def detached(data):
    figures = data["cost"]["changed"].items()
    return ", ".join(f"{milliseconds(of['ddns-cgi']['detached'])} ms at {int(size):,}" for size, of in figures)


def writes_table(data, kind):
    rows = []
    for name, calls in data["calls"][kind].items():
        disk, ram = (data["disk"][kind][place][name] for place in ("disk", "RAM disk"))
        rows.append(
            [
                NAMES[name],
                *(f"{calls[what]:,.0f}" for what in ("calls", "bytes", "blocks")),
                *(f"{place['written'] / BLOCK:,.0f}" for place in (disk, ram)),
                *(milliseconds(place["wall"]) for place in (disk, ram)),
            ]
        )
    columns = ["system calls", "bytes", "blocks", "disk: blocks", "RAM disk: blocks", "disk: ms", "RAM disk: ms"]
    return f"### A {kind} update\n\n" + table(["", *columns], rows)


def rates_table(data):
    names = {
        "answer": "floor: only answers (C, glibc), event and mod_cgid",
        "answer-musl": "the same with musl",
        "ddns-cgi": "**ddns-cgi**, event and mod_cgid",
        "php": "ip.php, prefork and mod_php",
    }
    sizes = data["rates"]
    rows = [[text, *(number(sizes[size][name]) for size in sizes)] for name, text in names.items()]
    return table(["hosts", *(f"{int(size):,}" for size in sizes)], rows)


def targets(data):
    """Rows of: what, hosts, target, measured, state."""
    rows = []

    def row(what, hosts, bound, value, is_upper, unit="x", least=None):
        is_met = value <= bound if is_upper else value >= bound
        missed = abs(value / bound - 1) * 100
        sign = "at most" if is_upper else "at least"
        state = "met" if is_met else f"**missed by {missed:.0f} %**"
        if not is_met and least and value <= least:
            state += f" (but within {least:g}{unit})"
        rows.append([what, f"{int(hosts):,}", f"{sign} {bound:g}{unit}", f"{number(value)}{unit}", state])

    redundant, changed = data["cost"]["redundant"], data["cost"]["changed"]
    for hosts, of in redundant.items():
        ratio = of["ddns-cgi"]["cpu"] / of["answer"]["cpu"]
        what = "CPU of a redundant update / floor that only answers"
        row(what, hosts, REDUNDANT[hosts], ratio, True, least=REDUNDANT_BOUND.get(hosts))
    for hosts, of in redundant.items():
        ratio = of["ddns-cgi"]["cpu"] / of["answer-musl"]["cpu"]
        row("the same / floor with musl", hosts, REDUNDANT_MUSL[hosts], ratio, True)
    for hosts, of in changed.items():
        ratio = of["ddns-cgi"]["cpu"] / of["job"]["cpu"]
        row("CPU of a changed update / floor that only moves the files", hosts, CHANGED[hosts], ratio, True)
    for hosts in redundant:
        memory = max(kind[hosts]["ddns-cgi"]["memory"] for kind in (redundant, changed)) / 1024
        row("peak memory, of either update", hosts, MEMORY[hosts], memory, True, " MiB")
    for hosts, of in redundant.items():
        ratio = of["php"]["cpu"] / of["ddns-cgi"]["cpu"]
        row("CPU of ip.php (php-cgi) / CPU of a redundant update", hosts, AGAINST_PHP[hosts], ratio, False)
    for hosts, of in data["rates"].items():
        if hosts == "10":
            row("requests per second / floor that only answers", hosts, 0.95, of["ddns-cgi"] / of["answer"], False)
        else:
            row("requests per second / mod_php", hosts, 1, of["ddns-cgi"] / of["php"], False)
    blocks = data["calls"]["redundant"]["ddns-cgi"]["blocks"]
    row("blocks of files that a redundant update writes", "1000", 1, blocks, True, "")
    return table(["figure", "hosts", "target", "measured", "state"], rows)


CHART = """
set terminal svg name 'ddns_cgi' size 720,400 font 'sans-serif,13'
set output '{output}'
set logscale xy
set xrange [8:130000]
set yrange [{low}:{high}]
set xtics ('10' 10, '100' 100, '1,000' 1000, '10,000' 10000, '100,000' 100000) textcolor rgb '#808080'
set ytics ('0.1 ms' 0.1, '1 ms' 1, '10 ms' 10, '100 ms' 100, '1 s' 1000) textcolor rgb '#808080'
set mytics 10
set border 3 linecolor rgb '#808080'
set tics nomirror
set grid ytics linecolor rgb '#808080' linewidth 0.4
set xlabel 'hosts' textcolor rgb '#808080'
set title 'CPU of one redundant update, as a whole process' textcolor rgb '#808080'
set key left top reverse Left textcolor rgb '#808080'
$data << END
{rows}
END
set style line 1 linewidth 2 dashtype 2 linecolor rgb '#808080'
set style line 2 linewidth 3 pointtype 7 pointsize 0.7 linecolor rgb '#2f81f7'
set style line 3 linewidth 2 pointtype 9 pointsize 0.8 linecolor rgb '#b565c7'
set style line 4 linewidth 2 pointtype 5 pointsize 0.6 linecolor rgb '#d9822b'
plot $data using 1:5 with linespoints linestyle 4 title 'ip.php, php-cgi', \\
     $data using 1:4 with linespoints linestyle 3 title 'naive Rust', \\
     $data using 1:3 with linespoints linestyle 2 title 'ddns-cgi', \\
     $data using 1:2 with lines linestyle 1 title 'a C program that only answers (glibc)'
"""


def chart(data, output):
    order = ["answer", "ddns-cgi", "naive", "php"]
    figures = data["cost"]["redundant"]
    rows = [[float(size), *(of[name]["cpu"] / 1000 for name in order)] for size, of in figures.items()]
    values = [value for row in rows for value in row[1:]]
    script = CHART.format(
        output=output,
        low=min(values) / 1.5,
        high=max(values) * 2,
        rows="\n".join(" ".join(f"{value:g}" for value in row) for row in rows),
    )
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def write(data, folder):
    chart(data, folder / "cost.svg")
    of = data["machine"]
    rounds = ", ".join(f"{counts[0]} x {counts[1]} at {int(size):,}" for size, counts in of["rounds"].items())
    text = Path(__file__).with_name("results.template").read_text()
    text = text.format(
        **{key: of[key] for key in ("date", "processor", "virtual", "system", "versions", "commit", "disk")},
        load=f"{of['load']:.2f}",
        rounds=rounds,
        targets=targets(data),
        costs="\n\n".join(cost_tables(data)),
        detached=detached(data),
        rates=rates_table(data),
        writes="\n\n".join(writes_table(data, kind) for kind in data["calls"]),
    )
    (folder / "RESULTS.md").write_text(text)

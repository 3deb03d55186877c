"""The report: tables, targets and the chart."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

NAMES = {
    "answer": "only answers",
    "answer-musl": "only answers, musl",
    "job": "only moves the files",
    "ddns-cgi": "ddns-cgi",
    "fastcgi": "ddns-cgi, FastCGI",
    "naive": "naive Rust",
    "php": "ip.php",
}
# The targets, for 10, 1,000, 10,000 and 100,000 hosts.
REDUNDANT = {"10": 1.15, "1000": 1.15, "10000": 1.5, "100000": 5}
# The least that is asked for, if the target is stricter.
REDUNDANT_BOUND = {"10000": 3, "100000": 25}
# The same against the floor with musl, which the program has, too.
REDUNDANT_MUSL = {"10": 2.5, "1000": 2.5, "10000": 3, "100000": 10}
CHANGED = {"10": 1.3, "1000": 1.3, "10000": 1.3, "100000": 1.3}
MEMORY = {"10": 2, "1000": 2, "10000": 3, "100000": 4}
# FastCGI, through nginx and through Apache, against each way to run PHP.
RATE_NGINX = {"10": 1.5, "1000": 4, "10000": 4, "100000": 4}
RATE_APACHE = {"10": 1, "1000": 1, "10000": 1, "100000": 1}
# CPU of the process that stays, against one for each request; and how much its memory may grow.
STAYING = {"10": 0.2}
GROWTH = {"10": 1.05, "1000": 1.05, "10000": 1.05, "100000": 1.05}
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
                first_line("dpkg-query", "--show", "--showformat=nginx ${Version}", "nginx"),
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
    """Columns as wide as they need to be, the first one to the left."""
    rows = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join(["```text", *lines, "```"])


def by_hosts(figures, programs, cell):
    """A row for each program, a column for each number of hosts."""
    sizes = list(figures)
    rows = [[NAMES[name], *(cell(figures[size], name) for size in sizes)] for name in programs]
    return table(["hosts", *(f"{int(size):,}" for size in sizes)], rows)


def cost_tables(data):
    parts = []
    for kind, figures in data["cost"].items():
        if kind == "redundant":
            figures = {hosts: {**of, "fastcgi": data["fastcgi"].get(hosts)} for hosts, of in figures.items()}
        programs = [name for name in NAMES if all(of.get(name) for of in figures.values())]
        cpu = by_hosts(figures, programs, lambda of, name: milliseconds(of[name]["cpu"]))
        parts += [f"### CPU of a {kind} update, in ms", cpu]
    return parts


def least_and_most(figures, cell):
    """The cells of the fewest and of the most hosts, in words."""
    values = [cell(of) for of in figures.values()]
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def walls(data):
    """The wall time of ddns-cgi, for each kind of update."""

    def of_kind(kind):
        return least_and_most(data["cost"][kind], lambda of: milliseconds(of["ddns-cgi"]["wall"]))

    return f"{of_kind('redundant')} ms for a redundant update, {of_kind('changed')} ms for a changed one"


def memories(data):
    """The peak memory of the programs that need more for more hosts."""
    figures = data["cost"]["redundant"]

    def of_program(name):
        return least_and_most(figures, lambda of: f"{of[name]['memory'] / 1024:.1f}")

    return ", ".join(f"{NAMES[name]} {of_program(name)} MiB" for name in ("ddns-cgi", "job", "naive", "php"))


def detached(data):
    figures = data["cost"]["changed"]
    return least_and_most(figures, lambda of: milliseconds(of["ddns-cgi"]["detached"])) + " ms"


def writes_table(data):
    """A row for each program, with what it writes in a redundant and in a changed update."""
    kinds = ("redundant", "changed")

    def cells(kind, name):
        if name not in data["calls"][kind]:
            return ["", "", ""]
        calls, disk = data["calls"][kind][name], data["disk"][kind]["disk"][name]
        return [f"{calls['bytes']:,.0f}", f"{calls['blocks']:,.0f}", f"{disk['written'] / BLOCK:,.0f}"]

    rows = [[NAMES[name], *(cell for kind in kinds for cell in cells(kind, name))] for name in data["calls"][kinds[0]]]
    return table(["", "redundant: bytes", "blocks", "on disk", "changed: bytes", "blocks", "on disk"], rows)


def waits(data):
    """How long a changed update of ddns-cgi takes on a disk and on a RAM disk."""
    disk, ram = (data["disk"]["changed"][place]["ddns-cgi"]["wall"] for place in ("disk", "RAM disk"))
    return f"{milliseconds(disk)} ms on a disk and {milliseconds(ram)} ms on the RAM disk"


def rate_tables(data):
    """What all programs reach through web servers, and what a request costs there."""
    names = {
        **{name: f"{NAMES[name]} (Apache, mod_cgid)" for name in ("answer", "answer-musl", "ddns-cgi")},
        "ddns-cgi-apache": "ddns-cgi (Apache, FastCGI)",
        "ddns-cgi-nginx": "ddns-cgi (nginx, FastCGI)",
        "php": "ip.php (Apache, mod_php)",
        "php-fpm": "ip.php (nginx, php-fpm)",
    }
    sizes = data["rates"]

    def of_field(field):
        rows = [[text, *(number(sizes[size][name][field]) for size in sizes)] for name, text in names.items()]
        return table(["hosts", *(f"{int(size):,}" for size in sizes)], rows)

    return {"rates": of_field("rate"), "server_cpu": of_field("cpu")}


def client_cpu(data):
    """What a request costs the client that sends it. With the fewest hosts, most requests were sent."""
    values = [one["client"] for one in next(iter(data["rates"].values())).values()]
    return f"{min(values):.0f} to {max(values):.0f}"


def growth(data):
    """The memory of the process that stays, after a few and after many requests."""
    of = next(iter(data["fastcgi"].values()))
    return f"{number(of['memory'] / 1024)} MiB after 100 requests and {number(of['memory later'] / 1024)} MiB after"


def targets(data):
    """A row for each figure, a column for each number of hosts: what was measured, and its bound."""
    redundant, changed, rates = data["cost"]["redundant"], data["cost"]["changed"], data["rates"]
    rows = []

    def row(what, bounds, measured, is_upper, unit="x", least=None):
        def cell(hosts):
            if hosts not in measured:
                return ""
            value, bound = measured[hosts], bounds[hosts]
            is_met = value <= bound if is_upper else value >= bound
            text = f"{number(value)}{unit} ({'≤' if is_upper else '≥'} {bound:g}{unit})"
            if is_met:
                return text
            text = f"missed by {abs(value / bound - 1) * 100:.0f} %: {text}"
            least_here = (least or {}).get(hosts)
            return text + (f", within {least_here:g}{unit}" if least_here and value <= least_here else "")

        rows.append([what, *(cell(hosts) for hosts in redundant)])

    def against(figures, above, below):
        return {hosts: of[above]["cpu"] / of[below]["cpu"] for hosts, of in figures.items()}

    of_answer = against(redundant, "ddns-cgi", "answer")
    row("CPU, redundant / only answers", REDUNDANT, of_answer, True, least=REDUNDANT_BOUND)
    row("CPU, redundant / only answers, musl", REDUNDANT_MUSL, against(redundant, "ddns-cgi", "answer-musl"), True)
    row("CPU, changed / only moves the files", CHANGED, against(changed, "ddns-cgi", "job"), True)
    row("CPU, ip.php / redundant", AGAINST_PHP, against(redundant, "php", "ddns-cgi"), False)
    memory = {
        hosts: max(kind[hosts]["ddns-cgi"]["memory"] for kind in (redundant, changed)) / 1024 for hosts in redundant
    }
    row("peak memory in MiB", MEMORY, memory, True, "")
    staying = data["fastcgi"]
    of_cgi = {"10": staying["10"]["cpu"] / redundant["10"]["ddns-cgi"]["cpu"]}
    row("CPU, redundant, FastCGI / CGI", STAYING, of_cgi, True)
    later = {hosts: of["memory later"] / of["memory"] for hosts, of in staying.items()}
    row("memory of FastCGI, later / at first", GROWTH, later, True)

    def rate(above, below, but=()):
        return {hosts: of[above]["rate"] / of[below]["rate"] for hosts, of in rates.items() if hosts not in but}

    row("requests per second, FastCGI, nginx / mod_php", RATE_NGINX, rate("ddns-cgi-nginx", "php"), False)
    row("requests per second, FastCGI, nginx / php-fpm", RATE_NGINX, rate("ddns-cgi-nginx", "php-fpm"), False)
    row("requests per second, FastCGI, Apache / mod_php", RATE_APACHE, rate("ddns-cgi-apache", "php"), False)
    of_answer = {"10": rate("ddns-cgi", "answer")["10"]}
    row("requests per second, CGI / only answers", {"10": 0.95}, of_answer, False)
    of_php = rate("ddns-cgi", "php", ["10"])
    row("requests per second, CGI / mod_php", dict.fromkeys(of_php, 1), of_php, False)
    blocks = {"1000": data["calls"]["redundant"]["ddns-cgi"]["blocks"]}
    row("blocks that a redundant update writes", {"1000": 1}, blocks, True, "")
    return table(["hosts", *(f"{int(hosts):,}" for hosts in redundant)], rows)


def sizes_table(data):
    """A row for each command of ddnsctl and each request that reads a whole file."""
    figures = {hosts: of for hosts, of in data["sizes"].items() if hosts != "machine"}
    names = next(iter(figures.values()))
    rows = [
        [name, *(f"{of[name]['cpu']:.2f} s, {number(of[name]['memory'])} MiB" for of in figures.values())] for name in names
    ]
    return table(["hosts", *(f"{int(hosts):,}" for hosts in figures)], rows)


def sizes_run(data):
    """When that was measured."""
    of = data["sizes"]["machine"]
    return f"{of['date']}, commit {of['commit']}, load before the run {of['load']:.2f}"


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
    rounds = ", ".join(f"{counts[0]}x{counts[1]}" for counts in of["rounds"].values())
    text = Path(__file__).with_name("results.template").read_text()
    text = text.format(
        **{key: of[key] for key in ("date", "processor", "virtual", "system", "versions", "commit", "disk")},
        load=f"{of['load']:.2f}",
        rounds=rounds,
        targets=targets(data),
        costs="\n\n".join(cost_tables(data)),
        walls=walls(data),
        memories=memories(data),
        detached=detached(data),
        **rate_tables(data),
        client_cpu=client_cpu(data),
        growth=growth(data),
        writes=writes_table(data),
        waits=waits(data),
        sizes=sizes_table(data),
        sizes_run=sizes_run(data),
    )
    (folder / "RESULTS.md").write_text(text)

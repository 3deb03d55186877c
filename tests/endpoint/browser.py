#!/usr/bin/env python3
"""Looks at a page with headless Chromium, over the DevTools protocol in pipes: nothing but Chromium and
Python's own library is needed.

    tests/endpoint/browser.py URL [--widths PIXELS...] [--screenshots PREFIX] [--axe FILE]

It looks at each width, in light and in dark, and prints a list of what the page is there (title, width of
its contents, background) and, with axe-core's file, what that finds. A screenshot, of the whole page, is
PREFIX-WIDTH-SCHEME.png.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile

FACTS = """({
    title: document.title,
    width: document.documentElement.scrollWidth,
    background: getComputedStyle(document.body).backgroundColor,
    rows: document.querySelectorAll('tbody tr').length,
    scripts: document.scripts.length,
})"""

# Every rule of axe-core: its advice on good practice, too.
AXE = """axe.run(document).then(found => ({
    version: axe.version,
    passes: found.passes.length,
    violations: found.violations.map(rule => [rule.id, rule.nodes.map(node => [node.target, node.failureSummary])]),
    incomplete: found.incomplete.map(rule => [rule.id, rule.nodes.map(node => node.target)]),
}))"""


class Browser:
    """One Chromium with one page."""

    def __init__(self, folder):
        # The browser reads descriptor 3 and writes 4.
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        arguments = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                     "--hide-scrollbars", f"--user-data-dir={folder}", "about:blank"]
        # Through higher numbers, since 3 and 4 may be taken by these pipes themselves.
        shell = 'exec "$@" 3<&"$READ" 4>&"$WRITE"'
        high = [os.dup2(commands, 20), os.dup2(answers, 21)]
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *arguments], pass_fds=high, stderr=subprocess.DEVNULL,
            env={**os.environ, "READ": "20", "WRITE": "21"})
        for descriptor in (commands, answers, *high):
            os.close(descriptor)
        self.rest = b""
        self.number = 0
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")

    def message(self):
        while b"\0" not in self.rest:
            more = os.read(self.answers, 1 << 16)
            if not more:
                sys.exit("tests/endpoint/browser.py: Chromium has ended")
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        call = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.commands, json.dumps(call).encode() + b"\0")
        while (message := self.message()).get("id") != self.number:
            pass
        if "error" in message:
            sys.exit(f"tests/endpoint/browser.py: {method}: {message['error']}")
        return message["result"]

    def visit(self, url):
        self.call("Page.navigate", url=url)
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, script):
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            sys.exit(f"tests/endpoint/browser.py: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def close(self):
        self.call("Browser.close")
        self.process.wait()


def look(browser, options, width, scheme):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=600, deviceScaleFactor=1,
                 mobile=width < 600)
    browser.visit(options.url)
    result = {"view": f"{width} {scheme}", **browser.evaluate(FACTS)}
    if options.axe:
        with open(options.axe, encoding="utf-8") as file:
            browser.evaluate(file.read() + "; 0")
        result["axe"] = browser.evaluate(AXE)
    if options.screenshots:
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True)
        with open(f"{options.screenshots}-{width}-{scheme}.png", "wb") as file:
            file.write(base64.b64decode(shot["data"]))
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--widths", type=int, nargs="+", default=[1000, 390])
    parser.add_argument("--screenshots")
    parser.add_argument("--axe")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        views = [(width, scheme) for width in options.widths for scheme in ("light", "dark")]
        json.dump([look(browser, options, *view) for view in views], sys.stdout)
        browser.close()


main()

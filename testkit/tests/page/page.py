"""Drives the page at / with Debian's Chromium: `page.py SCENARIO`, with the server in PAGE_URL and its key in PAGE_KEY.

Every scenario ends with the same questions: did the page break its own policy, ask anybody but its server, or say that
something is wrong? Screenshots go to PAGE_SHOTS.
"""

import base64
import json
import os
import pathlib
import re
import sys
import time
import urllib.error
import urllib.request

from playwright.sync_api import expect, sync_playwright

URL, KEY = os.environ["PAGE_URL"], os.environ["PAGE_KEY"]
SHOTS = pathlib.Path(os.environ["PAGE_SHOTS"])
CHROMIUM = os.environ.get("PAGE_CHROMIUM", "/usr/bin/chromium")
PATIENCE = 90_000
EVIL = "<img src=x onerror=alert(1)>"

WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample} ${event.sourceFile}:${event.lineNumber}`));
"""


def api(method, path, body=None, raw=False):
    data = body if raw else None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}"}
    if data is not None:
        headers["Content-Type"] = "application/octet-stream" if raw else "application/json"
    request = urllib.request.Request(URL + path, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE / 1000) as answer:
        content = answer.read()
    return content if raw and method == "GET" else json.loads(content)["data"]


def sandbox(name, **more):
    return api("POST", "/sandboxes", {"name": name, "image": "host", **more})


def run(name, script):
    return api("POST", f"/sandboxes/{name}/exec", {"command": ["sh", "-c", script]})


class Visit:
    """One tab, and what it did that it must not."""

    def __init__(self, browser, **context):
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.faults = []
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", self.heard)
        self.page.on("dialog", lambda dialog: (self.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", self.asked)
        self.page.on("websocket", lambda socket: self.asked_at(socket.url.replace("ws", "http", 1)))

    def heard(self, message):
        # The browser's own words about an answer that was no success, such as the one that asks for the key, and about a
        # terminal that somebody left before it was there.
        own = ("Failed to load resource", "closed before the connection is established")
        if message.type in ("error", "warning") and not any(words in message.text for words in own):
            self.faults.append(f"console: {message.text}")

    def asked(self, request):
        self.asked_at(request.url)

    def asked_at(self, url):
        if not url.startswith((f"{URL}/", "data:", f"blob:{URL}/")):
            self.faults.append(f"request: {url}")

    def open(self, place="#/", key=KEY):
        self.page.goto(f"{URL}/{place}")
        if key:
            self.page.get_by_label("Key", exact=True).fill(key)
            self.page.get_by_role("button", name="Use it").click()
            expect(self.page.get_by_role("dialog")).to_have_count(0)
        return self.page

    def end(self):
        self.faults += [f"policy: {text}" for text in self.page.evaluate("window.violations")]
        assert not self.faults, "\n".join(self.faults)
        self.context.close()


def row(page, name):
    # On a phone, the words before it count as well.
    exactly = re.compile(f"^(Name )?{re.escape(name)}$")
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=exactly))


def terminal(page):
    expect(page.locator(".xterm-rows")).to_contain_text(re.compile("[$#] "))
    return page.locator(".xterm-rows")


def a_sandbox_is_made_stopped_started_and_removed(browser):
    visit = Visit(browser)
    page = visit.open(key=None)
    page.get_by_label("Key", exact=True).fill("not-the-key")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_label("Key", exact=True)).to_have_value("")
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_text("There is no sandbox yet.")).to_be_visible()
    page.get_by_role("button", name="New sandbox").click()
    page.get_by_label("Name").fill("no such name!")
    page.get_by_role("button", name="Create and start").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
    page.get_by_label("Name").fill("box")
    page.get_by_label("Image").fill("host")
    page.get_by_label("Network, through the gateway").uncheck()
    page.get_by_role("button", name="Create and start").click()
    expect(page.get_by_role("heading", name=re.compile("^box "))).to_be_visible()
    page.get_by_role("link", name="Sandboxes").click()
    line = row(page, "box")
    expect(line).to_contain_text("running")
    expect(line).to_contain_text("native")
    # Two looks at it.
    expect(line.locator('[data-label="Memory"]')).to_contain_text("iB")
    counted = api("GET", "/sandboxes/box/stats")["cpu_micros"] is not None
    # Of root's sandboxes every kind of control groups counts it.
    assert counted or os.geteuid() != 0 or "AGENTKERNEL_TEST_UID" in os.environ
    expect(line.locator('[data-label="CPU"]')).to_contain_text("%" if counted else "–")
    page.get_by_role("button", name="Stop box").click()
    expect(line).to_contain_text("stopped")
    assert api("GET", "/sandboxes/box")["status"] == "stopped"
    page.get_by_role("button", name="Start box").click()
    expect(line).to_contain_text("running")
    # What others do is seen.
    sandbox("other")
    expect(row(page, "other")).to_contain_text("running")
    api("DELETE", "/sandboxes/other")
    expect(row(page, "other")).to_have_count(0)
    page.get_by_role("button", name="Remove box").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(line).to_be_visible()
    page.get_by_role("button", name="Remove box").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("There is no sandbox yet.")).to_be_visible()
    # The key is in this tab only, and is forgotten when asked.
    assert page.evaluate("localStorage.length") == 0 and visit.context.cookies() == []
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()
    visit.end()


def a_terminal_works(browser):
    sandbox("box")
    visit = Visit(browser)
    page = visit.open("#/box")
    rows = terminal(page)
    page.keyboard.type("echo $((6*7)); stty size; printf '\\033[38;2;10;200;30mcolour\\033[0m\\n'\n")
    expect(rows).to_contain_text("42")
    colour = page.locator(".xterm-rows span", has_text="colour").last
    expect(colour).to_have_css("color", "rgb(10, 200, 30)")
    # More than the window, of which nothing is lost.
    page.keyboard.type("clear; seq 200000 | tail -c 2000000 | cksum; seq 200000 >/dev/tty; echo the end\n")
    expect(rows).to_contain_text("the end", timeout=3 * PATIENCE)
    page.keyboard.type("clear; cat\n")
    page.keyboard.type("typed\n")
    expect(rows).to_contain_text("typed")
    page.keyboard.press("Control+c")
    page.keyboard.type("echo code $?\n")
    expect(rows).to_contain_text("code 130")
    page.set_viewport_size({"width": 700, "height": 600})
    page.keyboard.type("clear; stty size\n")
    expect(rows).to_contain_text(" ")
    # The way out for the keyboard, and back.
    page.keyboard.press("Control+Shift+E")
    expect(page.get_by_role("tab", name="Terminal")).to_be_focused()
    page.locator(".xterm-helper-textarea").focus()
    page.keyboard.type("exit 7\n")
    expect(page.get_by_role("status")).to_contain_text("code 7")
    page.get_by_role("button", name="Open again").click()
    terminal(page)
    # Whoever leaves takes the shell along.
    page.keyboard.type("exec sleep 4711\n")
    while not run("box", "grep -al '[s]leep.4711' /proc/[0-9]*/cmdline 2>/dev/null; true")["stdout"]:
        pass
    page.get_by_role("tab", name="Log").click()
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        if run("box", "grep -al '[s]leep.4711' /proc/[0-9]*/cmdline 2>/dev/null; true")["stdout"] == "":
            break
    else:
        raise AssertionError("the shell goes on")
    visit.end()


def files_go_in_and_out(browser):
    sandbox("box")
    run("box", "mkdir -p /tmp/d/below; echo 'some text' >/tmp/d/text; ln -s text /tmp/d/link; head -c 70000 /dev/zero >/tmp/d/zeros")
    visit = Visit(browser, accept_downloads=True)
    page = visit.open("#/box/files")
    page.get_by_role("button", name="tmp", exact=True).click()
    page.get_by_role("button", name="d", exact=True).click()
    page.get_by_role("button", name="text", exact=True).click()
    expect(page.get_by_label("Content of /tmp/d/text")).to_have_text("some text")
    page.get_by_role("button", name="zeros", exact=True).click()
    expect(page.get_by_label("Content of /tmp/d/zeros")).to_be_visible()
    content = bytes(range(256)) * 3000
    page.set_input_files("#upload", {"name": "of mine.bin", "mimeType": "application/octet-stream", "buffer": content})
    expect(page.get_by_role("status")).to_contain_text("was uploaded")
    expect(row(page, "of mine.bin")).to_contain_text("750 KiB")
    assert api("GET", "/sandboxes/box/raw/tmp/d/of%20mine.bin", raw=True) == content
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Download of mine.bin").click()
    assert pathlib.Path(fetched.value.path()).read_bytes() == content
    page.get_by_role("button", name="of mine.bin", exact=True).click()
    expect(page.get_by_text("that are no text")).to_be_visible()
    page.get_by_role("button", name="Delete of mine.bin").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "of mine.bin")).to_have_count(0)
    assert run("box", "ls /tmp/d")["stdout"] == "below\nlink\ntext\nzeros\n"
    page.get_by_role("navigation", name="Directory").get_by_role("button", name="/", exact=True).click()
    expect(page.get_by_role("button", name="tmp", exact=True)).to_be_visible()
    visit.end()


def what_is_hostile_stays_text(browser):
    sandbox("box", description=f"{EVIL}<script>alert(2)</script>", labels={"team": "red"})
    name = base64.b64encode(f"{EVIL}\u202egnp.exe\n".encode()).decode()
    run("box", f"mkdir /tmp/d; cd /tmp/d; n=$(echo {name} | base64 -d; echo x); n=${{n%x}}; "
        "printf '<script>alert(3)</script><svg onload=alert(4)>' >\"$n\"; ln -s '\"><script>alert(5)</script>' link")
    api("POST", "/sandboxes/box/exec", {"command": ["sh", "-c", "exit 0", EVIL]})
    visit = Visit(browser)
    page = visit.open("#/box/files")
    expect(page.get_by_text(EVIL)).to_be_visible()
    page.get_by_role("button", name="tmp", exact=True).click()
    page.get_by_role("button", name="d", exact=True).click()
    shown = page.get_by_role("rowheader").filter(has_text=EVIL)
    expect(shown).to_contain_text("\\u{202e}gnp.exe\\u{a}")
    page.get_by_role("tab", name="Log").click()
    expect(page.get_by_role("table", name="Events")).to_contain_text(EVIL)
    page.get_by_role("tab", name="Terminal").click()
    rows = terminal(page)
    page.keyboard.type("printf '\\033]0;<script>alert(6)</script>\\007\\033]8;;javascript:alert(7)\\033\\\\click\\033]8;;\\033\\\\\\n"
        "<img src=x onerror=alert(8)>\\n\\033]52;c;aGFjaw==\\007done\\n'\n")
    expect(rows.get_by_text("done", exact=False).last).to_be_visible()
    assert "script" not in page.title()
    found = page.evaluate("document.querySelectorAll('main img, main script, main svg, main iframe').length")
    assert found == 0, f"{found} elements came out of text"
    # A place that somebody else wrote.
    page.goto(f"{URL}/#/%3Cimg%20src=x%20onerror=alert(9)%3E/files")
    expect(page.get_by_role("heading", name="<img src=x onerror=alert(9)>")).to_be_visible()
    visit.end()


def decisions_of_the_network_are_seen_as_they_are_made(browser):
    sandbox("box", rules=["deny blocked.example"])
    visit = Visit(browser)
    page = visit.open("#/box/network")
    expect(page.get_by_text("Nothing went out")).to_be_visible()
    run("box", "timeout 5 bash -c 'exec 3<>/dev/tcp/10.11.12.13/80' 2>/dev/null; true")
    table = page.get_by_role("table", name="Connections")
    expect(table).to_contain_text("10.11.12.13:80")
    expect(table).to_contain_text("blocked")
    page.get_by_label("Only what was blocked").check()
    expect(table).to_contain_text("10.11.12.13:80")
    visit.end()


def the_keyboard_is_enough(browser):
    visit = Visit(browser)
    page = visit.open(key=None)
    expect(page.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_text("There is no sandbox yet.")).to_be_visible()
    page.locator("body").press("Tab")

    def reach(locator, key="Tab", times=40):
        for _ in range(times):
            if locator.evaluate("node => node === document.activeElement"):
                outline = locator.evaluate("node => getComputedStyle(node).outlineStyle")
                assert outline != "none", "focus is not seen"
                return
            page.keyboard.press(key)
        raise AssertionError(f"{locator} is not reached")

    reach(page.get_by_role("button", name="New sandbox"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("box")
    page.keyboard.press("Tab")
    page.keyboard.type("host")
    page.keyboard.press("Enter")
    terminal(page)
    page.keyboard.type("echo by key >/tmp/made; echo is ma''de\n")
    expect(page.locator(".xterm-rows")).to_contain_text("is made")
    page.keyboard.press("Control+Shift+E")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Files")).to_be_focused()
    reach(page.get_by_role("button", name="tmp", exact=True))
    page.keyboard.press("Enter")
    made = page.get_by_role("button", name="made", exact=True)
    expect(made).to_be_visible()
    reach(made, times=80)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Content of /tmp/made")).to_have_text("by key")
    reach(page.get_by_role("button", name="Remove", exact=True), key="Shift+Tab", times=80)
    page.keyboard.press("Enter")
    reach(page.get_by_role("dialog").get_by_role("button", name="Remove"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("There is no sandbox yet.")).to_be_visible()
    visit.end()


def it_fits_a_phone_in_the_dark_and_in_the_light(browser):
    sandbox("box", description="a sandbox with a description that is longer than a telephone is wide, by some words")
    sandbox("a-second-sandbox-with-quite-a-long-name")
    run("box", "mkdir /tmp/d; touch /tmp/d/a-file-with-a-name-that-is-much-longer-than-a-telephone-is-wide-and-has-no-space.txt")
    backs = set()
    for scheme in ("light", "dark"):
        for device, size in (("phone", (390, 844)), ("desk", (1280, 800))):
            visit = Visit(browser, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
            page = visit.open()
            expect(row(page, "box")).to_contain_text("running")
            backs.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            for view in ("", "box/terminal", "box/files", "box/network", "box/log"):
                page.goto(f"{URL}/#/{view}")
                if view == "box/terminal":
                    terminal(page)
                elif view == "box/files":
                    page.get_by_role("button", name="tmp", exact=True).click()
                    page.get_by_role("button", name="d", exact=True).click()
                    expect(page.get_by_text("a-file-with").first).to_be_visible()
                elif view == "box/log":
                    expect(page.get_by_role("table", name="Events")).to_contain_text("sandbox")
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{view} is {wide} pixels too wide on a {device}"
                page.screenshot(path=SHOTS / f"{device}-{scheme}-{view.replace('/', '-') or 'list'}.png")
            if device == "phone":
                small = page.evaluate("[...document.querySelectorAll('button:not(.link)')].filter(b => b.offsetHeight && b.offsetHeight < 40).length")
                assert small == 0, "a button is too small for a finger"
            # Whoever leaves a view that is not there yet gets the one asked for last, whatever the late one says.
            page.evaluate("location.hash = '#/box/network'; history.replaceState(null, '', '#/box/log')")
            expect(page.get_by_role("tab", name="Network")).to_have_attribute("aria-selected", "true")
            visit.end()
    assert len(backs) == 2, f"dark and light look alike: {backs}"


def everything_has_a_name(browser):
    sandbox("box")
    visit = Visit(browser)
    page = visit.open("#/box/files")
    expect(page.get_by_role("button", name="tmp", exact=True)).to_be_visible()
    for view in ("terminal", "files", "network", "log"):
        page.goto(f"{URL}/#/box/{view}")
        expect(page.get_by_role("tab", name=view)).to_have_attribute("aria-selected", "true")
        nameless = page.evaluate("""[...document.querySelectorAll("button, input, select, a, table, [role=tab], [role=tabpanel]")].filter((node) =>
            !(node.getAttribute("aria-label") || node.getAttribute("aria-labelledby") || node.labels?.length || node.textContent.trim())).map((node) => node.outerHTML)""")
        assert nameless == [], nameless
    visit.end()


VIEWS = pathlib.Path(__file__).resolve().parents[3] / "docs" / "page.aria.yml"


def view(page):
    """What is on the page, as its accessibility tree says it, without what is another thing each time."""
    text = page.locator("body").aria_snapshot()
    for pattern, words in [
        (r"\b\d+\.\d+\.\d+[\w.+-]* ·", "VERSION ·"),
        (r"\d+/\d+/\d+, \d+:\d+:\d+ [AP]M", "TIME"),
        (r"\b\d+(\.\d+)? [KMG]iB\b", "SIZE"),
        (r"\b\d+(\.\d+)? ?%", "PERCENT"),
        (r"\b\d+ (s|min|h)\b", "AGE"),
    ]:
        text = re.sub(pattern, words, text)
    return text


def it_reads_as_the_documentation_says(browser):
    visit = Visit(browser)
    page = visit.open(key=None)
    expect(page.get_by_role("dialog")).to_be_visible()
    views = {"The key is asked": view(page)}
    visit.open()
    expect(page.get_by_text("There is no sandbox yet.")).to_be_visible()
    page.get_by_role("button", name="New sandbox").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    views["A new sandbox"] = view(page)
    page.keyboard.press("Escape")
    sandbox("box")
    line = row(page, "box")
    expect(line.locator('[data-label="Memory"]')).to_contain_text("iB")
    expect(line.locator('[data-label="CPU"]')).to_contain_text("%")
    views["The sandboxes"] = view(page)
    run("box", "mkdir /srv/project && echo text > /srv/project/note.txt")
    page.goto(f"{URL}/#/box/files")
    for name in ["srv", "project"]:
        page.get_by_role("rowheader").get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("rowheader", name="note.txt")).to_be_visible()
    views["The files of one"] = view(page)
    visit.end()
    text = "\n".join(f"# {title}\n{tree}\n" for title, tree in views.items())
    if "AGENTKERNEL_WRITE_PAGE" in os.environ:
        VIEWS.write_text(text)
    assert text == VIEWS.read_text(), f"docs/page.aria.yml is another; AGENTKERNEL_WRITE_PAGE=1 writes it\n{text}"


SOCKET = """
async ([path, key, opening, words]) => {
  const protocols = ["agentkernel.exec.v1", ...(key ? [`bearer.${key}`] : [])];
  const socket = new WebSocket(location.origin.replace("http", "ws") + path, protocols);
  socket.binaryType = "arraybuffer";
  const out = { 1: "", 2: "", news: [], protocol: "" };
  const decoder = new TextDecoder();
  await new Promise((resolve, reject) => {
    // A conversation that takes longer hangs, and says by this what it has come to.
    setTimeout(() => reject(new Error(`no end: ${JSON.stringify({ path, opening, words, out }).slice(0, 4000)}`)), 180_000);
    socket.onopen = () => { out.protocol = socket.protocol; socket.send(typeof opening === "string" ? opening : JSON.stringify(opening)); };
    socket.onclose = (event) => { out.code = event.code; resolve(); };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        const news = JSON.parse(data);
        out.news.push(news);
        if (news.type === "started") for (const word of words) socket.send(typeof word === "string" ? new TextEncoder().encode(word) : JSON.stringify(word));
      } else {
        const bytes = new Uint8Array(data);
        out[bytes[0]] += decoder.decode(bytes.subarray(1));
        if (opening.window) socket.send(JSON.stringify({ type: "ack", bytes: bytes.length - 1 }));
      }
    };
  });
  return out;
}
"""


def programs_can_use_the_socket(browser):
    sandbox("box")
    visit = Visit(browser)
    page = visit.open("#/box/log")

    def talk(opening, *words, key=KEY, path="/sandboxes/box/exec/ws"):
        return page.evaluate(SOCKET, [path, key, opening, list(words)])

    def plain(script, **more):
        return {"command": ["sh", "-c", script], "tty": False, **more}

    both = talk(plain("read x; echo out $x; echo err >&2; exit 3"), "line\n")
    assert (both["1"], both["2"], both["protocol"], both["code"]) == ("out line\n", "err\n", "agentkernel.exec.v1", 1000), both
    assert both["news"] == [{"type": "started"}, {"type": "exit", "exit_code": 3, "out_of_memory": False}], both
    end = talk(plain("cat; echo $VALUE; pwd", env=["VALUE=set"], workdir="/tmp"), "all of it\n", {"type": "eof"})
    assert end["1"] == "all of it\nset\n/tmp\n", end
    killed = talk(plain("exec sleep 1000"), {"type": "signal", "signal": "TERM"})
    assert killed["news"][-1] == {"type": "exit", "exit_code": 143, "signal": 15, "out_of_memory": False}, killed
    much = talk(plain("seq 300000", window=10_000))
    assert much["1"] == "".join(f"{n}\n" for n in range(1, 300_001)), len(much["1"])
    # The new size may arrive before the first look at it, or after the next.
    script = "until [ \"$(stty size)\" = '33 44' ]; do sleep 0.1; done; echo resized"
    size = talk({"command": ["sh", "-c", script], "rows": 11, "cols": 22}, {"type": "resize", "rows": 33, "cols": 44})
    assert "resized" in size["1"], size
    size = talk({"command": ["stty", "size"], "rows": 11, "cols": 22})
    assert size["1"] == "11 22\r\n", size
    for wrong, words in [("no json", []), ({"command": ["true"], "odd": 1}, []), ({"command": []}, []), (plain("cat"), [{"type": "odd"}]),
                         (plain("cat"), [{"type": "signal", "signal": "ODD"}]), ({"command": ["/no/such"], "tty": False}, []),
                         (plain("true", sudo=True), [])]:
        told = talk(wrong, *words)
        assert told["news"][-1]["type"] == "error" and told["code"] == 1011, (wrong, told)
    # The browser says no more than that it was not let in.
    for key, path in [("", "/sandboxes/box/exec/ws"), ("wrong", "/sandboxes/box/exec/ws"), (KEY, "/sandboxes/none/exec/ws")]:
        assert talk(plain("true"), key=key, path=path)["code"] == 1006
    visit.faults = [fault for fault in visit.faults if "WebSocket connection" not in fault]
    visit.end()

    def status(**headers):
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        request = urllib.request.Request(f"{URL}/sandboxes/box/exec/ws", headers={**upgrade, **headers})
        try:
            return urllib.request.urlopen(request, timeout=PATIENCE / 1000).status
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 401
    assert status(Origin="https://elsewhere.example", Authorization=f"Bearer {KEY}") == 403
    assert status(**{"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {KEY}"}) == 403


def main(scenario):
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            globals()[scenario](browser)
        finally:
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1])

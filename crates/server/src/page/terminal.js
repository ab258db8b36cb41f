// A shell in the sandbox.

import "./styles.js";
import { FitAddon } from "./addon-fit.mjs";
import { Terminal } from "./xterm.mjs";
import { place, socket } from "./api.js";
import { button, el, notice, shown } from "./dom.js";

/** How much output may be on its way before the command waits. */
const WINDOW = 512 * 1024;
const STOPPED = "The sandbox does not run. Start it to open a terminal.";

const dark = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  return dark.matches
    ? { background: "#11151c", foreground: "#e6e9ef", cursor: "#e6e9ef", selectionBackground: "#3b4a63" }
    : { background: "#ffffff", foreground: "#1c2330", cursor: "#1c2330", selectionBackground: "#b9d3f5" };
}

export function show(panel, { name, running }, signal) {
  if (!running) {
    panel.append(el("p", {}, STOPPED));
    return;
  }
  const again = button("Open again", open, { hidden: true });
  const reader = el("input", { type: "checkbox", id: "reader" });
  const bar = el("div", { class: "bar" },
    el("p", { class: "quiet", id: "leave" }, "Ctrl+Shift+E leaves the terminal for the rest of the page."),
    el("p", { class: "check" }, reader, el("label", { for: "reader" }, "For screen readers")), again);
  const screen = el("div", { class: "terminal", role: "group", "aria-label": `Terminal of ${shown(name)}`, "aria-describedby": "leave" });
  panel.append(bar, screen);

  const term = new Terminal({ convertEol: false, cursorBlink: false, fontSize: 14, scrollback: 5000, theme: theme(), linkHandler: null });
  const fit = new FitAddon();
  term.loadAddon(fit);
  term.open(screen);
  fit.fit();
  reader.addEventListener("change", () => { term.options.screenReaderMode = reader.checked; });
  term.attachCustomKeyEventHandler((event) => {
    if (!(event.ctrlKey && event.shiftKey && event.code === "KeyE")) return true;
    event.preventDefault();
    if (event.type === "keydown") document.getElementById("tab-terminal").focus();
    return false;
  });
  dark.addEventListener("change", () => { term.options.theme = theme(); }, { signal });

  let connection;
  const text = new TextEncoder();
  const send = (data) => { if (connection?.readyState === WebSocket.OPEN) connection.send(data); };
  const say = (word) => send(JSON.stringify(word));

  function open() {
    again.hidden = true;
    term.reset();
    const current = socket(place(name, "exec/ws"));
    connection = current;
    current.addEventListener("open", () => {
      current.send(JSON.stringify({ tty: true, rows: term.rows, cols: term.cols, window: WINDOW }));
      term.focus();
    });
    current.addEventListener("message", ({ data }) => {
      if (typeof data === "string") heard(JSON.parse(data));
      else {
        const bytes = new Uint8Array(data).subarray(1);
        // Worked off when it is on the screen.
        term.write(bytes, () => { if (connection === current) say({ type: "ack", bytes: bytes.length }); });
      }
    });
    current.addEventListener("close", () => ended("The connection has ended"));
  }

  function heard(news) {
    if (news.type === "exit") ended(`The shell has ended with code ${news.exit_code}`);
    else if (news.type === "error") ended(news.hint ? `${news.message} (${news.hint})` : news.message);
  }

  function ended(why) {
    if (!connection) return;
    connection.close();
    connection = undefined;
    if (signal.aborted) return;
    notice(shown(why));
    again.hidden = false;
  }

  term.onData((data) => send(text.encode(data)));
  term.onBinary((data) => send(Uint8Array.from(data, (c) => c.charCodeAt(0))));
  term.onResize(({ rows, cols }) => say({ type: "resize", rows, cols }));
  const watch = new ResizeObserver(() => fit.fit());
  watch.observe(screen);
  signal.addEventListener("abort", () => {
    watch.disconnect();
    ended("");
    term.dispose();
  });
  open();
}

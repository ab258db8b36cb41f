// Every sandbox, as it is now.

import { call, events, place } from "./api.js";
import { confirmed, create } from "./dialogs.js";
import { age, button, bytes, el, notice, setText, shown, wrong } from "./dom.js";

/** How often it is asked what sandboxes use, while somebody looks. What happens to them is told at once. */
const EVERY = 2000;

/** What a sandbox used when it was last asked, by name. */
const before = new Map();

/** Memory and the share of a processor since the last time. */
async function usage(name, signal) {
  const now = await call("GET", place(name, "stats"), undefined, { signal });
  const at = performance.now();
  const last = before.get(name);
  before.set(name, { at, cpu: now.cpu_micros });
  const known = last && Number.isFinite(now.cpu_micros) && now.cpu_micros >= last.cpu;
  return { memory: now.memory_bytes, cpu: known ? (now.cpu_micros - last.cpu) / 10 / (at - last.at) : undefined };
}

export async function act(verb, name) {
  const doing = { start: "Starting", stop: "Stopping", remove: "Removing" }[verb];
  const done = { start: "started", stop: "stopped", remove: "removed" }[verb];
  if (verb === "remove") {
    const really = await confirmed(`Remove ${shown(name)}?`, "The sandbox and everything in it is deleted. This cannot be undone.", "Remove");
    if (!really) return false;
  }
  notice(`${doing} ${shown(name)} …`);
  try {
    if (verb === "remove") await call("DELETE", place(name));
    else await call("POST", place(name, verb));
    notice(`${shown(name)} is ${done}`);
    return true;
  } catch (error) {
    notice(wrong(error));
    return false;
  }
}

class Row {
  constructor(name, refresh) {
    this.name = name;
    const cell = (label) => el("td", { "data-label": label });
    this.cells = Object.fromEntries(["State", "Backend", "Image", "Age", "CPU", "Memory"].map((label) => [label, cell(label)]));
    const doing = (verb) => async () => { if (await act(verb, name)) refresh(); };
    this.toggle = button("", () => doing(this.running ? "stop" : "start")());
    const remove = button("Remove", doing("remove"), { "aria-label": `Remove ${shown(name)}`, class: "danger" });
    this.node = el("tr", {},
      el("th", { scope: "row", "data-label": "Name" }, el("a", { href: `#/${encodeURIComponent(name)}` }, shown(name))),
      ...Object.values(this.cells),
      el("td", { class: "actions", "data-label": "Actions" }, this.toggle, remove));
  }

  show(info, used) {
    this.running = info.status === "running";
    const { State, Backend, Image, Age, CPU, Memory } = this.cells;
    setText(State, info.status);
    State.className = `state ${this.running ? "running" : "stopped"}`;
    State.title = shown(info.reason ?? "");
    setText(Backend, shown(info.backend));
    setText(Image, shown(info.image ?? ""));
    setText(Age, age(info.created_at));
    setText(CPU, used?.cpu === undefined ? "–" : `${used.cpu.toFixed(used.cpu < 10 ? 1 : 0)} %`);
    setText(Memory, bytes(used?.memory));
    setText(this.toggle, this.running ? "Stop" : "Start");
    this.toggle.setAttribute("aria-label", `${this.running ? "Stop" : "Start"} ${shown(this.name)}`);
  }
}

export function show(main, signal) {
  const rows = new Map();
  const body = el("tbody");
  const empty = el("p", { hidden: true }, "There is no sandbox yet.");
  const problem = el("p", { role: "alert", class: "problem" });
  const heads = ["Name", "State", "Backend", "Image", "Age", "CPU", "Memory", "Actions"];
  const table = el("table", { class: "sandboxes" },
    el("caption", { class: "unseen" }, "Sandboxes"),
    el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)))), body);
  const make = button("New sandbox", async () => {
    const made = await create();
    if (made) location.hash = `#/${encodeURIComponent(made.name)}`;
  }, { class: "primary" });
  main.replaceChildren(el("div", { class: "bar" }, el("h1", {}, "Sandboxes"), make), problem, empty, table);

  let timer;
  async function refresh() {
    clearTimeout(timer);
    try {
      const list = await call("GET", "/sandboxes", undefined, { signal });
      const used = await Promise.all(list.map((info) => info.status === "running" ? usage(info.name, signal).catch(() => undefined) : undefined));
      if (signal.aborted) return;
      problem.textContent = "";
      update(list, used);
    } catch (error) {
      if (signal.aborted) return;
      problem.textContent = wrong(error);
    }
    clearTimeout(timer);
    if (document.visibilityState === "visible") timer = setTimeout(refresh, EVERY);
  }

  function update(list, used) {
    const there = new Set(list.map((info) => info.name));
    for (const [name, row] of rows) {
      if (!there.has(name)) { row.node.remove(); rows.delete(name); before.delete(name); }
    }
    list.forEach((info, index) => {
      if (!rows.has(info.name)) {
        const row = new Row(info.name, refresh);
        rows.set(info.name, row);
        body.append(row.node);
      }
      rows.get(info.name).show(info, used[index]);
    });
    empty.hidden = list.length > 0;
    table.hidden = list.length === 0;
  }

  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") refresh(); }, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  refresh();
  (async () => {
    // Without events the next look comes in two seconds.
    try { for await (const event of events("/events", signal)) if (event) refresh(); } catch { return; }
  })();
}

// One sandbox: its terminal, its files, what it did outside, what was done with it.

import { call, place } from "./api.js";
import { button, el, setText, shown, wrong } from "./dom.js";
import { show as files } from "./files.js";
import { act } from "./list.js";
import { show as log } from "./log.js";
import { show as network } from "./network.js";
import { show as terminal } from "./terminal.js";

const TABS = [["terminal", "Terminal", terminal], ["files", "Files", files], ["network", "Network", network], ["log", "Log", log]];

export function show(main, name, wanted, signal) {
  const state = el("span", { class: "state" });
  const facts = el("p", { class: "quiet" });
  const problem = el("p", { role: "alert", class: "problem" });
  const panel = el("section", { role: "tabpanel", id: "panel", "aria-labelledby": "tab-terminal" });
  let running = false;
  let shownTab;
  let closing = new AbortController();
  signal.addEventListener("abort", () => closing.abort());

  const after = (verb) => async () => {
    if (!(await act(verb, name))) return;
    if (verb === "remove") location.hash = "#/";
    else await refresh();
  };
  const toggle = button("Start", () => after(running ? "stop" : "start")());
  const remove = button("Remove", after("remove"), { class: "danger" });

  const tabs = TABS.map(([id, text]) => button(text, () => choose(id), {
    role: "tab", id: `tab-${id}`, "aria-controls": "panel",
  }));
  const strip = el("div", { role: "tablist", "aria-label": "Views of the sandbox" }, ...tabs);
  strip.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const index = (to + tabs.length) % tabs.length;
    tabs[index].focus();
    choose(TABS[index][0]);
  });

  function choose(id) {
    if (id === shownTab) return;
    shownTab = id;
    closing.abort();
    closing = new AbortController();
    TABS.forEach(([tab], index) => {
      tabs[index].setAttribute("aria-selected", String(tab === id));
      tabs[index].tabIndex = tab === id ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `tab-${id}`);
    panel.replaceChildren();
    history.replaceState(null, "", `#/${encodeURIComponent(name)}/${id}`);
    const [, , view] = TABS.find(([tab]) => tab === id);
    view(panel, { name, running }, closing.signal);
  }

  async function refresh() {
    try {
      const info = await call("GET", place(name), undefined, { signal });
      const changed = running !== (info.status === "running");
      running = info.status === "running";
      setText(state, info.status);
      state.className = `state ${running ? "running" : "stopped"}`;
      setText(toggle, running ? "Stop" : "Start");
      const parts = [info.backend, info.image, info.reason, info.description, ...(info.ports ?? []).map((port) => JSON.stringify(port))];
      setText(facts, parts.filter(Boolean).map(shown).join(" · "));
      problem.textContent = "";
      if (changed && shownTab) { const again = shownTab; shownTab = undefined; choose(again); }
    } catch (error) {
      if (!signal.aborted) problem.textContent = wrong(error);
    }
  }

  main.replaceChildren(
    el("nav", { "aria-label": "Way back" }, el("a", { href: "#/" }, "Sandboxes")),
    el("div", { class: "bar" }, el("h1", {}, shown(name), " ", state), el("div", { class: "actions" }, toggle, remove)),
    facts, problem, strip, panel);
  refresh().then(() => { if (!signal.aborted) choose(TABS.some(([id]) => id === wanted) ? wanted : "terminal"); });
}

// What was done with the sandbox: the log of events.

import { call, place } from "./api.js";
import { button, el, shown, wrong } from "./dom.js";

const LAST = 200;
/** What stands in columns of its own. */
const APART = new Set(["timestamp", "type", "user", "sandbox", "name"]);

export function show(panel, { name }, signal) {
  const problem = el("p", { role: "alert", class: "problem" });
  const body = el("tbody");
  panel.append(
    el("div", { class: "bar" }, el("p", { class: "quiet" }, "The newest first."), button("Refresh", refresh)), problem,
    el("table", { class: "log" },
      el("caption", { class: "unseen" }, "Events"),
      el("thead", {}, el("tr", {}, ...["Time", "What", "Details"].map((text) => el("th", { scope: "col" }, text)))), body));

  async function refresh() {
    try {
      const lines = await call("GET", `${place(name, "logs")}?last=${LAST}`, undefined, { signal });
      problem.textContent = "";
      body.replaceChildren(...lines.reverse().map(row));
    } catch (error) {
      if (!signal.aborted) problem.textContent = wrong(error);
    }
  }

  function row(line) {
    const rest = Object.entries(line).filter(([field]) => !APART.has(field));
    const text = rest.map(([field, value]) => `${field}: ${typeof value === "string" ? value : Array.isArray(value) ? value.join(" ") : JSON.stringify(value)}`).join(" · ");
    const cells = [["Time", new Date(line.timestamp).toLocaleString()], ["What", String(line.type).replaceAll("_", " ")], ["Details", text]];
    return el("tr", {}, ...cells.map(([label, cell]) => el("td", { "data-label": label }, shown(cell))));
  }

  refresh();
}

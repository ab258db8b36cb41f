// What the sandbox did outside, and what the gateway decided, as it happens.

import { events, place } from "./api.js";
import { bytes, el, shown, wrong } from "./dom.js";

/** The most lines that are kept. */
const MAX = 500;

export function show(panel, { name }, signal) {
  const problem = el("p", { role: "alert", class: "problem" });
  const only = el("input", { type: "checkbox", id: "blocked" });
  const body = el("tbody");
  const empty = el("p", {}, "Nothing went out, and nothing was refused.");
  const table = el("table", { class: "network", hidden: true },
    el("caption", { class: "unseen" }, "Connections, the newest first"),
    el("thead", {}, el("tr", {}, ...["Time", "Decision", "What", "Where", "Why", "Bytes"].map((text) => el("th", { scope: "col" }, text)))), body);
  panel.append(el("div", { class: "bar" }, el("p", { class: "check" }, only, el("label", { for: "blocked" }, "Only what was blocked"))), problem, empty, table);
  only.addEventListener("change", () => table.classList.toggle("only-blocked", only.checked));

  function row(line) {
    const host = line.name ?? line.address ?? "";
    const where = [line.method, `${host}${line.port ? `:${line.port}` : ""}${line.path ?? ""}`, line.status].filter(Boolean).join(" ");
    const moved = line.sent === undefined && line.received === undefined ? "–" : `${bytes(line.sent ?? 0)} ↑ ${bytes(line.received ?? 0)} ↓`;
    const cells = [["Time", new Date(line.timestamp).toLocaleTimeString()], ["Decision", line.verdict ?? "–"], ["What", line.type], ["Where", where],
      ["Why", [line.rule, line.reason].filter(Boolean).join(": ")], ["Bytes", moved]];
    return el("tr", { class: line.verdict === "blocked" ? "blocked" : "allowed" }, ...cells.map(([label, text]) => el("td", { "data-label": label }, shown(text))));
  }

  (async () => {
    try {
      for await (const { event, data } of events(`${place(name, "connections/stream")}?last=${MAX}`, signal)) {
        if (event === "error") { problem.textContent = shown(data.message); continue; }
        if (event !== "connection") continue;
        empty.hidden = true;
        table.hidden = false;
        body.prepend(row(data));
        if (body.rows.length > MAX) body.lastElementChild.remove();
      }
    } catch (error) {
      if (!signal.aborted) problem.textContent = wrong(error);
    }
  })();
}

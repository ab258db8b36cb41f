// Files of a sandbox: seen, fetched, put there, removed. Names and contents are whatever somebody inside wrote.

import { call, download, pathPart, place, upload } from "./api.js";
import { confirmed } from "./dialogs.js";
import { button, bytes, el, notice, shown, wrong } from "./dom.js";

const MAX_VIEW = 1024 * 1024;
const MAX_DOWNLOAD = 1024 * 1024 * 1024;

const join = (directory, name) => `${directory === "/" ? "" : directory}/${name}`;

function mode(entry) {
  const kind = { directory: "d", link: "l", other: "?" }[entry.kind] ?? "-";
  const bits = [6, 3, 0].map((shift) => [...["r", "w", "x"].entries()].map(([bit, letter]) => (entry.mode >> (shift + 2 - bit)) & 1 ? letter : "-").join(""));
  return kind + bits.join("");
}

export function show(panel, { name, running }, signal) {
  if (!running) {
    panel.append(el("p", {}, "The sandbox does not run. Start it to see its files."));
    return;
  }
  let directory = "/";
  const problem = el("p", { role: "alert", class: "problem" });
  const crumbs = el("nav", { "aria-label": "Directory", class: "crumbs" });
  const body = el("tbody");
  const more = el("p", { hidden: true }, "There is more in this directory than is shown.");
  const view = el("div", { class: "view" });
  const pick = el("input", { type: "file", id: "upload", multiple: true, class: "unseen" });
  pick.addEventListener("change", async () => {
    for (const file of pick.files) await put(file);
    pick.value = "";
    open(directory);
  });
  const table = el("table", { class: "files" },
    el("caption", { class: "unseen" }, "Files"),
    el("thead", {}, el("tr", {}, ...["Name", "Size", "Changed", "Mode", "Actions"].map((text) => el("th", { scope: "col" }, text)))), body);
  panel.append(
    el("div", { class: "bar" }, crumbs, el("div", { class: "actions" },
      button("Upload", () => pick.click()), el("label", { for: "upload", class: "unseen" }, "Files to upload"), pick,
      button("Refresh", () => open(directory)))),
    problem, table, more, view);

  async function attempt(work) {
    problem.textContent = "";
    try {
      return await work();
    } catch (error) {
      if (!signal.aborted) problem.textContent = wrong(error);
      return undefined;
    }
  }

  const raw = (path) => place(name, "raw", pathPart(path));

  async function put(file) {
    notice(`Uploading ${shown(file.name)} …`);
    const done = await attempt(() => upload(raw(join(directory, file.name)), file));
    notice(done ? `${shown(file.name)} was uploaded` : "");
  }

  async function open(path) {
    const list = await attempt(() => call("GET", `${place(name, "files")}?path=${encodeURIComponent(path)}`, undefined, { signal }));
    if (!list || signal.aborted) return;
    directory = path;
    more.hidden = !list.truncated;
    showCrumbs();
    const kinds = { directory: 0 };
    const entries = list.entries.sort((a, b) => (kinds[a.kind] ?? 1) - (kinds[b.kind] ?? 1) || a.name.localeCompare(b.name));
    body.replaceChildren(...entries.map(row));
  }

  function showCrumbs() {
    const parts = directory.split("/").filter(Boolean);
    const steps = [["/", "/"], ...parts.map((part, at) => [part, `/${parts.slice(0, at + 1).join("/")}`])];
    crumbs.replaceChildren(...steps.map(([text, path], at) =>
      button(shown(text), () => open(path), { class: "link", "aria-current": at === steps.length - 1 ? "location" : undefined })));
  }

  function row(entry) {
    const path = join(directory, entry.name);
    const text = entry.kind === "link" ? `${shown(entry.name)} → ${shown(entry.target)}` : shown(entry.name);
    // A link may lead to either; one that leads nowhere says so.
    const look = () => (entry.kind === "directory" ? open(path) : read(path));
    const first = entry.kind === "other" ? el("span", {}, text) : button(text, look, { class: `link ${entry.kind}` });
    const actions = el("td", { class: "actions", "data-label": "Actions" });
    if (entry.kind === "file" || entry.kind === "link") actions.append(button("Download", () => fetchFile(path, entry.name), { "aria-label": `Download ${shown(entry.name)}` }));
    if (entry.kind !== "directory") actions.append(button("Delete", () => remove(path, entry.name), { "aria-label": `Delete ${shown(entry.name)}`, class: "danger" }));
    return el("tr", {},
      el("th", { scope: "row", "data-label": "Name" }, el("bdi", {}, first)),
      el("td", { "data-label": "Size" }, entry.kind === "file" ? bytes(entry.size) : "–"),
      el("td", { "data-label": "Changed" }, new Date(entry.mtime * 1000).toLocaleString()),
      el("td", { "data-label": "Mode" }, mode(entry)),
      actions);
  }

  async function read(path) {
    const blob = await attempt(async () => {
      try {
        return await download(raw(path), MAX_VIEW, { signal });
      } catch (error) {
        if (error.kind !== "invalid") throw error;
        await open(path);
        return undefined;
      }
    });
    if (!blob || signal.aborted) return;
    let content;
    try {
      content = new TextDecoder("utf-8", { fatal: true }).decode(await blob.arrayBuffer());
    } catch {
      content = undefined;
    }
    const heading = el("h2", { tabindex: "-1" }, shown(path));
    const text = content === undefined
      ? el("p", {}, `${bytes(blob.size)} that are no text.`)
      : el("pre", { tabindex: "0", "aria-label": `Content of ${shown(path)}` }, content);
    view.replaceChildren(el("div", { class: "bar" }, heading, button("Close", () => view.replaceChildren())), text);
    heading.focus();
  }

  async function fetchFile(path, file) {
    const blob = await attempt(() => download(raw(path), MAX_DOWNLOAD, { signal }));
    if (!blob) return;
    const url = URL.createObjectURL(blob);
    el("a", { href: url, download: shown(file) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async function remove(path, file) {
    if (!(await confirmed(`Delete ${shown(file)}?`, `${shown(path)} is deleted in the sandbox.`, "Delete"))) return;
    const done = await attempt(() => call("DELETE", place(name, "files", pathPart(path))));
    if (done) notice(`${shown(file)} was deleted`);
    open(directory);
  }

  open("/");
}

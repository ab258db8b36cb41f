// Questions: the key, a new sandbox, and whether something is really to be removed.

import { call, key } from "./api.js";
import { button, el, wrong } from "./dom.js";

/** Shows a dialog until `work` of its form succeeds, or it is left. */
function ask({ title, fields, confirm, work, leave = "Cancel" }) {
  return new Promise((resolve) => {
    const id = `dialog-${crypto.randomUUID()}`;
    const problem = el("p", { role: "alert", class: "problem" });
    const go = el("button", { type: "submit", class: "primary" }, confirm);
    const form = el("form", { method: "dialog" },
      el("h2", { id }, title), ...fields, problem,
      el("div", { class: "actions" }, leave && button(leave, () => dialog.close()), go));
    const dialog = el("dialog", { "aria-labelledby": id }, form);
    let answer;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      problem.textContent = "";
      try {
        answer = await work(new FormData(form));
        dialog.close();
      } catch (error) {
        problem.textContent = wrong(error);
        go.disabled = false;
      }
    });
    dialog.addEventListener("close", () => { dialog.remove(); resolve(answer); });
    if (!leave) dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
  });
}

function field(label, name, attributes = {}, help) {
  const id = `field-${name}`;
  const helpId = help && `${id}-help`;
  return el("p", { class: "field" },
    el("label", { for: id }, label),
    el("input", { id, name, autocomplete: "off", spellcheck: "false", "aria-describedby": helpId, ...attributes }),
    help && el("small", { id: helpId }, help));
}

function choice(label, name, options) {
  const id = `field-${name}`;
  return el("p", { class: "field" }, el("label", { for: id }, label),
    el("select", { id, name }, ...options.map(([value, text]) => el("option", { value }, text))));
}

function check(label, name, attributes = {}) {
  const id = `field-${name}`;
  return el("p", { class: "field check" }, el("input", { type: "checkbox", id, name, ...attributes }), el("label", { for: id }, label));
}

/** Asks for the API key; resolves when one was given. */
export async function askForKey() {
  await ask({
    title: "API key",
    confirm: "Use it",
    leave: "",
    fields: [field("Key", "key", { type: "password", required: true, autofocus: true },
      "This tab keeps it until it is closed. It goes to this server only.")],
    work: async (form) => {
      const given = String(form.get("key")).trim();
      // What no header can carry is no key.
      if (!/^[\x21-\x7e]{1,1024}$/.test(given)) throw new Error("That is no key");
      key.set(given);
      return true;
    },
  });
}

export function confirmed(title, text, confirm) {
  return ask({ title, confirm, fields: [el("p", {}, text)], work: async () => true });
}

/** Makes a sandbox; resolves with what the server says of it, or undefined. */
export function create() {
  const value = (form, name) => String(form.get(name) ?? "").trim() || undefined;
  return ask({
    title: "New sandbox",
    confirm: "Create and start",
    fields: [
      field("Name", "name", { required: true, autofocus: true }),
      field("Image", "image", { placeholder: "python:3.12-alpine" }, "An OCI image, or host: this machine's own programs. Alpine without one."),
      choice("Profile", "profile", [["", "Default"], ["restrictive", "Restrictive"], ["moderate", "Moderate"], ["permissive", "Permissive"]]),
      field("Backend", "backend", { placeholder: "automatic" }),
      field("Time to live", "ttl", { placeholder: "1h" }, "Such as 30m, 1h or 7d; for ever without it."),
      check("Network, through the gateway", "network", { checked: true }),
    ],
    work: (form) => call("POST", "/sandboxes", {
      name: value(form, "name"), image: value(form, "image"), profile: value(form, "profile"),
      backend: value(form, "backend"), ttl: value(form, "ttl"),
      network: form.get("network") === null ? false : undefined,
    }),
  });
}

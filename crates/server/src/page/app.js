// Which view is shown: "#/" is the list, "#/NAME/VIEW" one sandbox.

import { call, key, onKey } from "./api.js";
import { askForKey } from "./dialogs.js";
import { notice } from "./dom.js";
import { show as showList } from "./list.js";
import { show as showSandbox } from "./sandbox.js";

const main = document.getElementById("main");
const forget = document.getElementById("forget");
let leaving = new AbortController();

function where(hash) {
  const [, name, view] = hash.split("/");
  try {
    return [decodeURIComponent(name ?? ""), view];
  } catch {
    return ["", undefined];
  }
}

function route(hash) {
  leaving.abort();
  leaving = new AbortController();
  notice("");
  const [name, view] = where(hash);
  document.title = name ? `${name} · agentkernel` : "agentkernel";
  if (name) showSandbox(main, name, view, leaving.signal);
  else showList(main, leaving.signal);
}

onKey(async () => {
  await askForKey();
  forget.hidden = !key.get();
});

forget.hidden = !key.get();
forget.addEventListener("click", () => {
  key.forget();
  location.reload();
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

// Not where the page is by now: a view that was still on its way may have put its own name there.
addEventListener("hashchange", (event) => {
  route(new URL(event.newURL).hash);
  main.focus();
});
route(location.hash);

call("GET", "/status").then(({ version, backend }) => {
  document.getElementById("server").textContent = `${version} · ${backend}`;
}).catch(() => {});

// The HTTP API of this server. The key is kept for this tab only.

const KEY = "agentkernel.key";

/** What the server refused, or that it could not be reached. */
export class Refused extends Error {
  constructor(message, { status = 0, kind = "", hint = "" } = {}) {
    super(message);
    Object.assign(this, { status, kind, hint });
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

let askForKey = async () => { throw new Refused("The key is missing"); };
let asking;

/** `ask` is called when the server wants another key; it resolves when there is one. */
export function onKey(ask) {
  askForKey = () => (asking ??= ask().finally(() => { asking = undefined; }));
}

/** The name of a sandbox, and a path in it, as part of a URL. */
export function place(name, ...rest) {
  return ["/sandboxes", encodeURIComponent(name), ...rest].join("/");
}

export function pathPart(path) {
  return path.split("/").filter(Boolean).map(encodeURIComponent).join("/");
}

async function ask(method, url, options) {
  for (;;) {
    const used = key.get();
    const headers = new Headers(options.headers);
    if (used) headers.set("Authorization", `Bearer ${used}`);
    let response;
    try {
      response = await fetch(url, { ...options, method, headers, cache: "no-store", redirect: "error", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The server does not answer", { hint: "is 'agentkernel serve' running?" });
    }
    if (response.ok) return response;
    if (response.status === 401) {
      // Somebody else may have asked for one meanwhile.
      if (key.get() === used) await askForKey();
      continue;
    }
    throw await refusal(response);
  }
}

async function refusal(response) {
  try {
    const { error, kind, hint } = await response.json();
    return new Refused(String(error), { status: response.status, kind, hint });
  } catch {
    return new Refused(`The server answered ${response.status}`, { status: response.status });
  }
}

/** An answer of JSON. */
export async function call(method, url, body, options = {}) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await ask(method, url, { ...json, ...options });
  return (await response.json()).data;
}

/** Bytes, at most `limit` of them. */
export async function download(url, limit, options = {}) {
  const response = await ask("GET", url, options);
  const parts = [];
  let size = 0;
  for await (const part of chunks(response.body)) {
    size += part.length;
    if (size > limit) throw new Refused("The file is too large for this page", { hint: "use the API or 'agentkernel sandbox cp'" });
    parts.push(part);
  }
  return new Blob(parts, { type: "application/octet-stream" });
}

export async function upload(url, blob) {
  const response = await ask("PUT", url, { body: blob, headers: { "Content-Type": "application/octet-stream" } });
  return (await response.json()).data;
}

async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Server-Sent Events as { event, data }, until their end or `signal`. */
export async function* events(url, signal) {
  const response = await ask("GET", url, { signal, headers: { Accept: "text/event-stream" } });
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of chunks(response.body)) {
    rest += decoder.decode(part, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const found = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) found.event = line.slice(6).trim();
        else if (line.startsWith("data:")) found.data += line.slice(5).trimStart();
      }
      if (found.data) yield { event: found.event, data: JSON.parse(found.data) };
    }
  }
}

/** A WebSocket of the API. A browser can send no header with it, so the key goes as the name of a subprotocol. */
export function socket(url) {
  const at = new URL(url, location.href);
  at.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const protocols = ["agentkernel.exec.v1"];
  if (key.get()) protocols.push(`bearer.${key.get()}`);
  const opened = new WebSocket(at, protocols);
  opened.binaryType = "arraybuffer";
  return opened;
}

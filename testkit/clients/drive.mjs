// The client library of npm against a server: everything that the reference implementation documents for it.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const { AgentKernel, AuthError, NotFoundError, ValidationError } = await import(pathToFileURL(process.argv[2]).href);
const client = new AgentKernel();

async function commands() {
  assert.equal(await client.health(), "ok");
  assert.equal((await client.run(["echo", "hello"])).output, "hello\n");
  const options = { image: "host", profile: "restrictive", fast: false };
  assert.equal((await client.run(["echo", "hello"], options)).output, "hello\n");
  await assert.rejects(client.run(["sh", "-c", "exit 3"], { image: "host" }), /code 3/);
  await assert.rejects(client.run(["true"], { image: "NO SUCH" }), ValidationError);
  await assert.rejects(new AgentKernel({ apiKey: "wrong" }).listSandboxes(), AuthError);

  const events = [];
  const began = Date.now();
  let arrived;
  for await (const event of client.runStream(["sh", "-c", "echo one; sleep 3; echo two; exit 5"], { image: "host" })) {
    if (event.type === "output") arrived ??= Date.now();
    events.push(event);
  }
  assert.equal(events[0].type, "started");
  assert.deepEqual([events.at(-1).type, events.at(-1).data.exit_code], ["done", 5]);
  const output = events.filter((event) => event.type === "output").map((event) => event.data.data);
  assert.equal(output.join(""), "one\ntwo\n");
  assert.ok(Date.now() - arrived > 800 && arrived - began < Date.now() - began, "the first output came with the last");

  const { results } = await client.batchRun([{ command: ["echo", "1"] }, { command: ["sh", "-c", "exit 2"] }]);
  assert.equal(results[0].output, "1\n");
  assert.match(results[1].error, /code 2/);
}

async function sandboxes() {
  // Not every user's limits can be enforced.
  const limits = process.env.LIMITS ? { vcpus: 1, memory_mb: 256 } : {};
  const made = await client.createSandbox("of-node", { image: "host", ...limits });
  assert.deepEqual([made.name, made.status, made.image], ["of-node", "running", "host"]);
  assert.equal(made.memory_mb, limits.memory_mb ?? made.memory_mb);
  assert.deepEqual((await client.listSandboxes()).map((info) => info.name), ["of-node"]);
  assert.equal((await client.getSandbox("of-node")).uuid, made.uuid);
  assert.equal((await client.getSandboxByUuid(made.uuid)).name, "of-node");
  const options = { env: ["A=b"], workdir: "/tmp" };
  assert.equal((await client.execInSandbox("of-node", ["sh", "-c", "echo $A; pwd"], options)).output, "b\n/tmp\n");
  await files("of-node");
  await detached("of-node");
  assert.ok((await client.getSandboxLogs("of-node")).length > 0);
  await client.removeSandbox("of-node");
  await assert.rejects(client.getSandbox("of-node"), NotFoundError);

  // As `await using` does.
  const session = await client.sandbox("session", { image: "host" });
  assert.equal((await session.run(["echo", "in"])).output, "in\n");
  assert.equal((await session.info()).status, "running");
  await session[Symbol.asyncDispose]();
  assert.deepEqual(await client.listSandboxes(), []);
}

async function files(name) {
  await client.writeFile(name, "/tmp/note.txt", "héllo");
  for (const path of ["/tmp/note.txt", "tmp/note.txt"]) {
    assert.deepEqual(await client.readFile(name, path), { content: "héllo", encoding: "utf8", size: 6 });
  }
  await client.writeFile(name, "tmp/bytes", "//4=", { encoding: "base64" });
  assert.deepEqual(await client.readFile(name, "tmp/bytes"), { content: "//4=", encoding: "base64", size: 2 });
  assert.equal((await client.writeFiles(name, { "/tmp/a": "1", "/tmp/b": "2" })).written, 2);
  await client.deleteFile(name, "/tmp/note.txt");
  await assert.rejects(client.readFile(name, "/tmp/note.txt"), NotFoundError);
}

async function detached(name) {
  const begun = await client.execDetached(name, ["sh", "-c", "echo out; exit 3"]);
  let ended = begun;
  while (ended.status === "running") ended = await client.detachedStatus(name, begun.id);
  assert.deepEqual([ended.status, ended.exit_code], ["failed", 3]);
  assert.equal((await client.detachedLogs(name, begun.id)).stdout, "out\n");
  const long = await client.execDetached(name, ["sleep", "300"]);
  await client.detachedKill(name, long.id);
  assert.equal((await client.detachedList(name)).length, 2);
}

await commands();
await sandboxes();
console.log("all of it works");

// Gives each OpenCode session an agentkernel sandbox of its own, and tools to run commands in it.
//
// Needs the server: agentkernel serve
//   AGENTKERNEL_BASE_URL  where it is; http://127.0.0.1:18888 without it
//   AGENTKERNEL_API_KEY   its key, where it has one
//   AGENTKERNEL_IMAGE     the image of session sandboxes, such as node:22-alpine

import { type Plugin, tool } from "@opencode-ai/plugin"

type Answer = {
  success: boolean
  data?: any
  error?: string
  exit_code?: number
  output?: string
}

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly answer: Answer,
  ) {
    super(answer.error ?? `agentkernel answered with status ${status}`)
  }
}

function server(): URL {
  return new URL(process.env.AGENTKERNEL_BASE_URL || "http://127.0.0.1:18888")
}

function headers(url: URL): Record<string, string> {
  const key = process.env.AGENTKERNEL_API_KEY
  if (!key) return {}
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname)
  if (url.protocol !== "https:" && !here) {
    throw new Error(`the key would cross the network in clear: use https:// for ${url.hostname}`)
  }
  return { authorization: `Bearer ${key}` }
}

async function call(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Answer> {
  const base = server()
  const url = new URL(base.pathname.replace(/\/+$/, "") + path, base)
  const own = headers(url)
  let response: Response
  try {
    response = await fetch(url, {
      method,
      headers: {
        ...own,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      redirect: "error",
      signal,
    })
  } catch (error) {
    if (signal?.aborted) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`no agentkernel server answers at ${base.origin}: start one with 'agentkernel serve' (${reason})`)
  }
  const text = await response.text()
  let answer: Answer
  try {
    answer = JSON.parse(text)
  } catch {
    throw new Error(`what answers at ${base.origin} is no agentkernel server (status ${response.status})`)
  }
  if (!response.ok || !answer.success) throw new Refusal(response.status, answer)
  return answer
}

// What a command wrote, and how it ended. A command that failed is an answer, and no error.
async function outcome(asked: Promise<Answer>): Promise<string> {
  let answer: Answer
  try {
    answer = await asked
  } catch (error) {
    if (!(error instanceof Refusal) || error.answer.exit_code === undefined) throw error
    answer = { ...error.answer, data: error.answer.data ?? error.answer }
  }
  const data = answer.data ?? {}
  const code = data.exit_code ?? answer.exit_code ?? 0
  const parts: string[] = []
  if (typeof data.stdout === "string" || typeof data.stderr === "string") {
    if (data.stdout) parts.push(data.stdout)
    if (data.stderr) parts.push(`stderr:\n${data.stderr}`)
  } else if (data.output) {
    parts.push(data.output)
  }
  if (code !== 0) parts.push(`exit code ${code}`)
  return parts.join("\n") || "(no output)"
}

export const AgentkernelPlugin: Plugin = async ({ client }) => {
  // A session that another one started works in the sandbox of that one.
  const parents = new Map<string, string>()
  const ready = new Map<string, Promise<string>>()

  function root(session: string): string {
    const seen = new Set<string>()
    let current = session
    for (let parent = parents.get(current); parent && !seen.has(parent); parent = parents.get(current)) {
      seen.add(parent)
      current = parent
    }
    return current
  }

  // Identifiers begin with the time, which neighbours have in common: their ends differ.
  function sandbox(session: string): string {
    return `opencode-${root(session).replace(/[^A-Za-z0-9]/g, "").slice(-8)}`
  }

  async function start(name: string): Promise<string> {
    const image = process.env.AGENTKERNEL_IMAGE
    try {
      await call("POST", "/sandboxes", { name, ...(image ? { image } : {}) })
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 409) throw error
      // It is there already. Starting one that runs changes nothing.
      await call("POST", `/sandboxes/${name}/start`)
    }
    return name
  }

  function ensure(session: string): Promise<string> {
    const name = sandbox(session)
    let known = ready.get(name)
    if (!known) {
      known = start(name)
      ready.set(name, known)
      known.catch(() => ready.delete(name))
    }
    return known
  }

  async function log(level: "info" | "warn", message: string): Promise<void> {
    await client.app.log({ body: { service: "agentkernel", level, message } }).catch(() => undefined)
  }

  return {
    async event({ event }) {
      if (event.type === "session.created") {
        const { id, parentID } = event.properties.info
        if (parentID) {
          parents.set(id, parentID)
          return
        }
        await ensure(id).then(
          (name) => log("info", `sandbox ${name} is ready`),
          (error) => log("warn", error.message),
        )
      }
      if (event.type === "session.deleted") {
        const { id, parentID } = event.properties.info
        const name = sandbox(id)
        parents.delete(id)
        if (parentID) return
        await ready.get(name)?.catch(() => undefined)
        ready.delete(name)
        await call("DELETE", `/sandboxes/${name}`).catch((error) => {
          if (!(error instanceof Refusal) || error.status !== 404) return log("warn", error.message)
        })
      }
    },

    tool: {
      sandbox_run: tool({
        description:
          "Run one command in a new agentkernel sandbox that is removed afterwards. Use it for code that is not trusted. " +
          "Files of this project are not in it.",
        args: {
          command: tool.schema
            .array(tool.schema.string())
            .min(1)
            .describe('The command as a list of words; ["sh", "-c", "a && b"] where a shell is needed'),
          image: tool.schema.string().optional().describe("An image such as python:3.12-alpine"),
          profile: tool.schema
            .enum(["restrictive", "moderate", "permissive"])
            .optional()
            .describe("How much it may do; restrictive has no network"),
        },
        async execute(args, context) {
          return outcome(call("POST", "/run", { ...args, fast: false }, context.abort))
        },
      }),

      sandbox_exec: tool({
        description:
          "Run a command in the agentkernel sandbox of this session. What earlier commands left in it is there. " +
          "Files of this project are not in it.",
        args: {
          command: tool.schema
            .array(tool.schema.string())
            .min(1)
            .describe('The command as a list of words; ["sh", "-c", "a && b"] where a shell is needed'),
          workdir: tool.schema.string().optional().describe("The working directory inside, an absolute path"),
        },
        async execute(args, context) {
          const name = await ensure(context.sessionID)
          return outcome(call("POST", `/sandboxes/${name}/exec`, args, context.abort))
        },
      }),

      sandbox_list: tool({
        description: "List the agentkernel sandboxes of this machine.",
        args: {},
        async execute(_args, context) {
          const { data } = await call("GET", "/sandboxes", undefined, context.abort)
          const rows = (data ?? []).map((one: any) => [one.name, one.status, one.backend, one.image ?? ""].join("\t"))
          return rows.length ? ["NAME\tSTATUS\tBACKEND\tIMAGE", ...rows].join("\n") : "no sandboxes"
        },
      }),
    },
  }
}

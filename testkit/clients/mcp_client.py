"""The official Python SDK of the Model Context Protocol, as a client of agentkernel. Usage: mcp_client.py MODE, with

stdio COMMAND WORD...    a server that the client starts
http URL                 one that runs; the environment variable KEY has its key
"""

import asyncio
import os
import sys

from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.exceptions import MCPError


def transport(mode, words):
    if mode == "stdio":
        # The SDK hands on a few variables only, and the mark of the test has to be among them.
        return stdio_client(StdioServerParameters(command=words[0], args=words[1:], env=dict(os.environ)))
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    return streamable_http_client(words[0], http_client=create_mcp_http_client(headers=headers))


async def exercise(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for name in ("sandbox_run", "run_command", "sandbox_create", "create_sandbox", "sandbox_exec", "exec_in_sandbox"):
        assert name in tools, sorted(tools)
        assert tools[name].annotations.open_world_hint is True, tools[name]
        assert tools[name].input_schema["additionalProperties"] is False, tools[name]
    heard = []

    async def progress(count, total, message):
        heard.append(message)

    line = "echo one; sleep 2; echo two"
    arguments = {"command": ["sh", "-c", line], "image": "host"}
    # The SDK compares structured results with the tool's output schema.
    result = await client.call_tool("sandbox_run", arguments, progress_callback=progress)
    assert not result.is_error and result.content[0].text == "one\ntwo\n", result
    assert result.structured_content["exit_code"] == 0, result
    assert heard and heard[0].startswith("one"), heard
    runs = [client.call_tool("run_command", {"command": ["echo", str(n)], "image": "host"}) for n in range(10)]
    texts = [result.content[0].text for result in await asyncio.gather(*runs)]
    assert texts == [f"{n}\n" for n in range(10)], texts
    failed = await client.call_tool("sandbox_run", {"command": ["false"], "image": "host"})
    assert failed.is_error and "code 1" in failed.content[0].text, failed
    wrong = await client.call_tool("sandbox_run", {"command": ["true"], "nonsense": 1})
    assert wrong.is_error and "nonsense" in wrong.content[0].text, wrong
    box = {"name": f"sdk-{os.getpid()}"}
    await client.call_tool("sandbox_create", {**box, "image": "host"})
    await client.call_tool("sandbox_file_write", {**box, "path": "/tmp/file", "content": "written"})
    read = await client.call_tool("exec_in_sandbox", {**box, "command": ["cat", "/tmp/file"]})
    assert read.content[0].text == "written", read
    listed = await client.call_tool("sandbox_list", {})
    assert box["name"] in [one["name"] for one in listed.structured_content["sandboxes"]], listed
    await client.call_tool("sandbox_remove", box)
    try:
        await client.call_tool("no_such_tool", {})
    except MCPError as error:
        assert "no_such_tool" in str(error), error
    else:
        raise AssertionError("an unknown tool was called")


async def main(mode, *words):
    async with transport(mode, words) as (reader, writer), ClientSession(reader, writer) as session:
        hello = await session.initialize()
        assert hello.server_info.name == "agentkernel", hello
        await session.send_ping()
        await exercise(session)
    # The newest version of the protocol has no handshake.
    async with Client(transport(mode, words)) as client:
        print(client.protocol_version)
        await exercise(client)


asyncio.run(main(*sys.argv[1:]))

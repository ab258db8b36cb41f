"""The client library of PyPI against a server: everything that the reference implementation documents for it."""

import asyncio
import os
import sys
import time

from agentkernel import AgentKernel, AsyncAgentKernel
from agentkernel.errors import AgentKernelError, AuthError, NotFoundError, ValidationError


def raises(kind, call, *words):
    try:
        call()
    except kind as error:
        assert all(word in str(error) for word in words), str(error)
    else:
        raise AssertionError(f"no {kind.__name__}")


def commands(client):
    assert client.health() == "ok"
    assert client.run(["echo", "hello"]).output == "hello\n"
    assert client.run(["echo", "hello"], image="host", profile="restrictive", fast=False).output == "hello\n"
    raises(AgentKernelError, lambda: client.run(["sh", "-c", "exit 3"], image="host"), "code 3")
    raises(ValidationError, lambda: client.run(["true"], image="NO SUCH"), "image")
    raises(AuthError, AgentKernel(api_key="wrong").list_sandboxes)

    script = "echo one; sleep 3; echo two; exit 5"
    began, arrived, events = time.monotonic(), None, []
    for event in client.run_stream(["sh", "-c", script], image="host"):
        if arrived is None and event.type == "output":
            arrived = time.monotonic() - began
        events.append(event)
    assert [events[0].type, events[-1].type] == ["started", "done"], events
    assert "".join(e.data["data"] for e in events if e.type == "output") == "one\ntwo\n", events
    assert events[-1].data["exit_code"] == 5 and events[-1].data["success"] is False, events
    assert time.monotonic() - began - arrived > 0.8, "the first output came with the last"

    results = client.batch_run([["echo", "1"], ["sh", "-c", "exit 2"], ["echo", "3"]]).results
    assert [results[0].output, results[2].output] == ["1\n", "3\n"], results
    assert results[0].error is None and "code 2" in results[1].error, results


def sandboxes(client):
    # Not every user's limits can be enforced.
    limits = {"vcpus": 1, "memory_mb": 256} if "LIMITS" in os.environ else {}
    made = client.create_sandbox("of-python", image="host", profile="moderate", **limits)
    assert (made.name, made.status, made.image) == ("of-python", "running", "host"), made
    assert made.vcpus and made.memory_mb and made.uuid and made.created_at, made
    assert not limits or (made.vcpus, made.memory_mb) == (1, 256), made
    assert [info.name for info in client.list_sandboxes()] == ["of-python"]
    assert client.get_sandbox("of-python").uuid == made.uuid
    assert client.get_sandbox_by_uuid(made.uuid).name == "of-python"
    said = client.exec_in_sandbox("of-python", ["sh", "-c", "echo $A; pwd"], env=["A=b"], workdir="/tmp")
    assert said.output == "b\n/tmp\n", said
    files(client, "of-python")
    detached(client, "of-python")
    assert client.get_sandbox_logs("of-python"), "no events of the sandbox"
    client.remove_sandbox("of-python")
    raises(NotFoundError, lambda: client.get_sandbox("of-python"), "of-python")

    with client.sandbox("session", image="host") as session:
        assert session.run(["echo", "in"]).output == "in\n"
        assert session.info().status == "running"
        session.write_files({"/tmp/a": "1"})
    assert client.list_sandboxes() == []
    backends = client.get_backends()
    assert backends.default_backend in [b.backend for b in backends.backends if b.usable], backends


def files(client, name):
    client.write_file(name, "/tmp/note.txt", "héllo")
    for path in ["/tmp/note.txt", "tmp/note.txt"]:
        read = client.read_file(name, path)
        assert (read.content, read.encoding, read.size) == ("héllo", "utf8", 6), read
    client.write_file(name, "tmp/bytes", "//4=", encoding="base64")
    read = client.read_file(name, "tmp/bytes")
    assert (read.content, read.encoding, read.size) == ("//4=", "base64", 2), read
    assert client.write_files(name, {"/tmp/a": "1", "/tmp/b": "2"}).written == 2
    assert client.exec_in_sandbox(name, ["cat", "/tmp/a", "/tmp/b"]).output == "12"
    client.delete_file(name, "/tmp/note.txt")
    raises(NotFoundError, lambda: client.read_file(name, "/tmp/note.txt"))


def detached(client, name):
    begun = client.exec_detached(name, ["sh", "-c", "echo out; echo err >&2; read x </tmp/never"])
    assert begun.sandbox == name and begun.command[0] == "sh" and len(begun.id) == 8, begun
    while (ended := client.detached_status(name, begun.id)).status == "running":
        time.sleep(0.05)
    assert ended.status == "failed" and ended.exit_code, ended
    assert client.detached_logs(name, begun.id).stdout == "out\n"
    assert client.detached_logs(name, begun.id, stream="stderr").stderr.startswith("err\n")
    long = client.exec_detached(name, ["sleep", "300"])
    assert client.detached_status(name, long.id).status == "running"
    client.detached_kill(name, long.id)
    assert {one.id for one in client.detached_list(name)} >= {begun.id, long.id}


async def later():
    async with AsyncAgentKernel() as client:
        assert await client.health() == "ok"
        runs = [client.run(["echo", str(n)], image="host") for n in range(4)]
        assert [run.output for run in await asyncio.gather(*runs)] == ["0\n", "1\n", "2\n", "3\n"]
        async with await client.sandbox("later", image="host") as session:
            assert (await session.run(["echo", "in"])).output == "in\n"
        kinds = [event.type async for event in await client.run_stream(["echo", "x"], image="host")]
        assert kinds[0] == "started" and kinds[-1] == "done" and "output" in kinds, kinds


with AgentKernel() as client:
    commands(client)
    sandboxes(client)
asyncio.run(later())
sys.stdout.write("all of it works\n")

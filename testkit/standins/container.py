#!/usr/bin/python3 -I
"""A stand-in for Apple's `container` (version 1.2.2), as far as agentkernel uses it: the documented commands, flags and
JSON, and nothing else. A flag that is not documented is an error.

A container is a chroot in namespaces of its own instead of a virtual machine; without its own process namespace nothing
is ever run. Everything lies in `state` beside the directory of this program. `state/calls` gets one JSON object for each
call; `state/fault.json` says what goes wrong: {"list": "hang" | "garbage" | "fail:TEXT", ...} by the first word or two.
"""
import ctypes, fcntl, hashlib, json, os, pty, select, shutil, signal, stat, struct, subprocess, sys, tarfile, termios, tty

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
STATE = os.path.join(os.path.dirname(HERE), "state")
LIBC = ctypes.CDLL(None, use_errno=True)
FORWARDED = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]


def fail(text, code=1):
    sys.stderr.write(f"Error: {text}\n")
    sys.exit(code)


def place(*parts):
    return os.path.join(STATE, *parts)


def load(path, default=None):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def save(path, value):
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.rename(path + ".new", path)


# The flags of each command: how many words follow. What is not here does not exist.
PROCESS = {"--env-file": 1, "--uid": 1, "--gid": 1, "--interactive": 0, "--tty": 0, "--user": 1, "--workdir": 1, "--env": 1}
CREATE = PROCESS | {
    "--cpus": 1, "--memory": 1, "--cap-add": 1, "--cap-drop": 1, "--entrypoint": 1, "--init": 0, "--label": 1,
    "--mount": 1, "--name": 1, "--network": 1, "--no-dns": 0, "--read-only": 0, "--rm": 0, "--tmpfs": 1,
}
FLAGS = {
    "system status": {"--format": 1}, "list": {"--all": 0, "--format": 1}, "create": CREATE,
    "run": CREATE | {"--progress": 1}, "start": {"--attach": 0, "--interactive": 0},
    "stop": {"--signal": 1, "--time": 1}, "kill": {"--signal": 1}, "delete": {"--force": 0}, "exec": PROCESS,
    "export": {}, "stats": {"--format": 1, "--no-stream": 0}, "image list": {"--format": 1}, "image load": {"--input": 1},
    "image delete": {},
}


def parse(command, words):
    """Flags up to the first word that is none, and the rest."""
    known, flags = FLAGS[command], {}
    while words and words[0].startswith("-"):
        flag = words.pop(0)
        if flag not in known:
            fail(f"Unknown option '{flag}'", 64)
        if known[flag] and not words:
            fail(f"Missing value for '{flag} <{flag[2:]}>'", 64)
        flags.setdefault(flag, []).append(words.pop(0) if known[flag] else "")
    return flags, words


def one(flags, name, default=None):
    return flags.get(name, [default])[-1]


def answer(value):
    print(json.dumps(value))


# Images


def image_load(flags, words):
    with tarfile.open(one(flags, "--input")) as archive:
        def blob(descriptor):
            digest = descriptor["digest"]
            content = archive.extractfile("blobs/" + digest.replace(":", "/"))
            data = content.read()
            if "sha256:" + hashlib.sha256(data).hexdigest() != digest or len(data) != descriptor["size"]:
                fail(f"digest mismatch expected {digest}")
            return data
        if json.load(archive.extractfile("oci-layout"))["imageLayoutVersion"] != "1.0.0":
            fail("not an OCI layout")
        for entry in json.load(archive.extractfile("index.json"))["manifests"]:
            annotations = entry["annotations"]
            name = annotations.get("io.containerd.image.name") or annotations["org.opencontainers.image.ref.name"]
            manifest = json.loads(blob(entry))
            config = json.loads(blob(manifest["config"]))
            key = hashlib.sha256(name.encode()).hexdigest()
            root = place("images", key, "root")
            shutil.rmtree(root, ignore_errors=True)
            os.makedirs(root)
            for layer in manifest["layers"]:
                unpack(blob(layer), root)
            save(place("images", key, "image.json"), {"name": name, "size": entry["size"], "config": config})
            print(name)


def unpack(layer, root):
    import io
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        for entry in archive:
            parent, base = os.path.split(entry.name.rstrip("/"))
            if base.startswith(".wh."):
                gone = os.path.join(root, parent, base[4:])
                shutil.rmtree(gone) if os.path.isdir(gone) and not os.path.islink(gone) else os.path.lexists(gone) and os.unlink(gone)
            else:
                there = os.path.join(root, entry.name)
                if os.path.lexists(there) and not (entry.isdir() and os.path.isdir(there)):
                    os.unlink(there)
                archive.extract(entry, root, numeric_owner=True)


def images():
    directory = place("images", "")
    found = [load(os.path.join(directory, key, "image.json")) for key in sorted(os.listdir(directory))]
    return [image for image in found if image]


def image_list(flags, words):
    answer([{"id": "0", "configuration": {"creationDate": 0, "name": i["name"], "descriptor": {}},
             "variants": [{"platform": {}, "digest": "", "size": i["size"], "config": i["config"]}]} for i in images()])


def image_delete(flags, words):
    for name in words:
        key = hashlib.sha256(name.encode()).hexdigest()
        if not os.path.exists(place("images", key, "image.json")):
            fail(f"image not found: {name}")
        shutil.rmtree(place("images", key))


# Containers


def path_of(name):
    return place("containers", name, "container.json")


def get(name):
    found = load(path_of(name))
    if not found:
        fail(f'notFound: "container not found: {name}"')
    return found


def started_at(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def machine(name):
    """The first process of its namespace, as seen from outside, if it lives."""
    found = load(place("containers", name, "machine.json"))
    return found["pid"] if found and started_at(found["pid"]) == found["started"] else None


def containers():
    directory = place("containers", "")
    found = [load(os.path.join(directory, name, "container.json")) for name in sorted(os.listdir(directory))]
    return [container for container in found if container]


def listing(flags, words):
    def shown(c):
        state = "running" if machine(c["id"]) else "stopped"
        return {"id": c["id"], "status": {"state": state, "networks": []},
                "configuration": {"id": c["id"], "labels": c["labels"], "image": {"reference": c["image"], "descriptor": {}}}}
    all_of = [shown(c) for c in containers()]
    answer([c for c in all_of if "--all" in flags or c["status"]["state"] == "running"])


def create(flags, words):
    name, image, arguments = one(flags, "--name"), words[0], words[1:]
    if os.path.exists(path_of(name)):
        fail(f"container with id {name} already exists")
    key = hashlib.sha256(image.encode()).hexdigest()
    if not os.path.exists(place("images", key, "image.json")):
        fail(f"image not found: {image}")
    root = place("containers", name, "root")
    os.makedirs(place("containers", name))
    subprocess.run(["cp", "-a", place("images", key, "root"), root], check=True)
    save(path_of(name), {
        "id": name, "image": image, "flags": flags, "words": [one(flags, "--entrypoint"), *arguments],
        "labels": dict(label.split("=", 1) for label in flags.get("--label", [])),
    })
    return name


def start(name):
    """Runs the main process in the foreground; its streams are ours. Returns its code."""
    if machine(name):
        fail("attach is currently unsupported on already running containers")
    words = ["unshare", "--fork", "--pid", "--mount", "--ipc", "--net"]
    if os.geteuid() != 0:
        words += ["--user", "--map-root-user"]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return subprocess.run([*words, sys.executable, "-I", os.path.abspath(sys.argv[0]), "--machine", name]).returncode


def inner(name):
    """The first process inside: mounts, changes the root, starts the main process, reaps."""
    if os.getpid() != 1:
        fail("no process namespace")
    container = get(name)
    flags, root = container["flags"], place("containers", name, "root")
    # Its number outside is told by whoever can see it: the proc of the namespace that we come from.
    outside = int(os.readlink("/proc/self"))
    save(place("containers", name, "machine.json"), {"pid": outside, "started": started_at(outside)})

    def mount(*words):
        subprocess.run(["mount", *words], check=True)
    mount("--make-rprivate", "/")
    mount("--bind", root, root)
    for target in ["proc", "tmp", "dev"]:
        os.makedirs(os.path.join(root, target), exist_ok=True)
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("--rbind", "/dev", f"{root}/dev")
    for spec in flags.get("--mount", []):
        parts = dict((part.split("=", 1) + [""])[:2] for part in spec.split(","))
        if not os.path.isdir(parts["source"]):
            fail(f"path '{parts['source']}' is not a directory")
        mount("--bind", parts["source"], root + parts["target"])
        if "readonly" in parts:
            mount("-o", "remount,bind,ro", root + parts["target"])
    for target in flags.get("--tmpfs", []):
        mount("-t", "tmpfs", "tmpfs", root + target)
    if "--read-only" in flags:
        mount("-o", "remount,bind,ro", root)
    os.chroot(root)
    os.chdir("/")
    main = os.fork()
    if main == 0:
        enter(flags, container["words"], {})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(main, number))
    while True:
        pid, status = os.wait()
        if pid == main:
            os._exit(code_of(status))


def code_of(status):
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def enter(flags, words, env):
    """Becomes the process."""
    for number in [signal.SIGPIPE, signal.SIGHUP, *FORWARDED]:
        signal.signal(number, signal.SIG_DFL)
    if can_set_groups():
        os.setgroups([])
    uid, gid = int(one(flags, "--uid", "0")), int(one(flags, "--gid", "0"))
    if (uid, gid) != (0, 0):
        os.setgid(gid)
        os.setuid(uid)
    try:
        os.chdir(one(flags, "--workdir", "/"))
        os.execvpe(words[0], words, env)
    except OSError as error:
        sys.stderr.write(f"Error: failed to exec process: {error}\n")
        sys.stderr.flush()
        os._exit(1)


def can_set_groups():
    try:
        with open("/proc/self/setgroups") as file:
            return file.read().strip() == "allow"
    except OSError:
        return False


def env_of(flags):
    env = {}
    for path in flags.get("--env-file", []):
        mode = os.stat(path).st_mode
        if stat.S_IMODE(mode) & 0o077:
            fail(f"env file {path} can be read by others")
        with open(path, newline="\n") as file:
            for line in file.read().splitlines():
                line = line.lstrip()
                if line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    env[key] = value
    if flags.get("--env"):
        fail("the stand-in wants values in files")
    return env


def join(pid):
    """Goes into the namespaces and the root of `pid`; the next child is in its process namespace."""
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY)
    kinds = ["mnt", "ipc", "net", "pid"] if os.geteuid() == 0 else ["user", "mnt", "ipc", "net", "pid"]
    spaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    mine = os.stat("/proc/self/ns/pid").st_ino
    if os.fstat(spaces[-1]).st_ino == mine:
        fail("no process namespace")
    for space in spaces:
        if LIBC.setns(space, 0) != 0:
            fail(f"setns: {os.strerror(ctypes.get_errno())}")
    os.fchdir(root)
    os.chroot(".")


def execute(flags, words):
    name, arguments = words[0], words[1:]
    get(name)
    pid = machine(name)
    if not pid:
        fail(f'invalidState: "container {name} is not running"')
    env = env_of(flags)
    terminal, interactive = "--tty" in flags, "--interactive" in flags
    controller = None
    if terminal:
        if not os.isatty(0):
            fail("stdin is not a terminal")
        controller, device = pty.openpty()
        fcntl.ioctl(controller, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
        tty.setraw(0)
    null = os.open("/dev/null", os.O_RDWR)
    join(pid)
    child = os.fork()
    if child == 0:
        os.setsid()
        if terminal:
            fcntl.ioctl(device, termios.TIOCSCTTY, 0)
            for number in (0, 1, 2):
                os.dup2(device, number)
        elif not interactive:
            os.dup2(null, 0)
        os.closerange(3, 256)
        enter(flags, arguments, env)
    if terminal:
        os.close(device)
        return pump(child, controller)
    for number in FORWARDED:
        signal.signal(number, lambda number, _: os.kill(child, number))
    os.close(0)
    os.close(1)
    return code_of(os.waitpid(child, 0)[1])


def pump(child, controller):
    def resize(*_):
        fcntl.ioctl(controller, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
    signal.signal(signal.SIGWINCH, resize)
    sources = [0, controller]
    while True:
        for source in select.select(sources, [], [])[0]:
            try:
                data = os.read(source, 4096)
            except OSError:
                data = b""
            if source == 0:
                os.write(controller, data) if data else sources.remove(0)
            elif data:
                os.write(1, data)
            else:
                return code_of(os.waitpid(child, 0)[1])


def end(name, number):
    pid = machine(name)
    if pid:
        os.kill(pid, number)
    while number == signal.SIGKILL and machine(name):
        select.select([], [], [], 0.01)


def number_of(text):
    return signal.Signals["SIG" + text]


def remove(name):
    # Another call may be at it.
    shutil.rmtree(place("containers", name), ignore_errors=True)


def main():
    words = sys.argv[1:]
    for directory in ["images", "containers"]:
        os.makedirs(place(directory), exist_ok=True)
    if words[:1] == ["--machine"]:
        return inner(words[1])
    with open(place("calls"), "a") as calls:
        calls.write(json.dumps({"words": words, "env": dict(os.environ)}) + "\n")
    command = " ".join(words[:2]) if words and words[0] in ("system", "image") else "".join(words[:1])
    if command not in FLAGS:
        fail(f"Unknown command '{command}'", 64)
    fault = (load(place("fault.json")) or {}).get(command, "")
    if fault == "hang":
        signal.pause()
    if fault == "garbage":
        return print("\x1b[31mgarbage {]")
    if fault.startswith("fail:"):
        fail(fault[5:])
    flags, rest = parse(command, words[len(command.split()):])
    if command == "system status":
        status = fault or "running"
        answer({"status": status, "apiServerVersion": "container-apiserver version 1.2.2" if not fault else ""})
        return sys.exit(0 if status == "running" else 1)
    if command == "list":
        return listing(flags, rest)
    if command == "image load":
        return image_load(flags, rest)
    if command == "image list":
        return image_list(flags, rest)
    if command == "image delete":
        return image_delete(flags, rest)
    if command == "create":
        return print(create(flags, rest))
    if command == "run":
        name = create(flags, rest)
        code = start(name)
        if "--rm" in flags and os.path.exists(path_of(name)):
            remove(name)
        sys.exit(code)
    if command == "start":
        get(rest[0])
        sys.exit(start(rest[0]))
    if command == "exec":
        sys.exit(execute(flags, rest))
    for name in rest:
        get(name)
        if command == "stop":
            end(name, number_of(one(flags, "--signal", "TERM").removeprefix("SIG")))
        elif command == "kill":
            end(name, number_of(one(flags, "--signal", "KILL")))
        elif command == "delete":
            if machine(name) and "--force" not in flags:
                fail("container is running")
            end(name, signal.SIGKILL)
            remove(name) if os.path.exists(path_of(name)) else None
        elif command == "export":
            with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
                archive.add(place("containers", name, "root"), arcname=".")
            return
        elif command == "stats":
            answer([{"id": name, "memoryUsageBytes": 4096, "cpuUsageUsec": 17, "numProcesses": 2}])
            return
        print(name)


main()

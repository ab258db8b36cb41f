import os, socket, ssl, sys, threading, time

# A client that wants out. Everything has a deadline, longer than the gateway needs on a busy machine.
socket.setdefaulttimeout(15)
PROXY = ("192.0.2.53", 3128)

def each(act, rows):
    "Does `act(*row)` for all rows at once; raises what the first of them raised."
    failed = []
    def one(row):
        try:
            act(*row)
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=one, args=(row,)) for row in rows]
    for t in threads: t.start()
    for t in threads: t.join()
    if failed:
        raise failed[0]

def connect(host, port, family=None):
    "A stream, or None. The gateway may take a connection and close it."
    try:
        if family is not None:
            s = socket.socket(family, socket.SOCK_STREAM)
            s.connect((host, port))
            return s
        return socket.create_connection((host, port))
    except OSError:
        return None

def drain(s, limit=65536):
    "What is said until the end, an error or a silence."
    got = b""
    try:
        while len(got) < limit:
            part = s.recv(65536)
            if not part:
                break
            got += part
            # Answered; the connection may stay open. After a refusal nothing comes.
            refused = got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) and b"\r\n\r\n" in got
            s.settimeout(0.2 if refused else 2)
    except (OSError, ssl.SSLError):
        pass
    return got

def say(host, port, message, family=None):
    "Says something and returns the answer; b'' when there is none."
    s = connect(host, port, family)
    if s is None:
        return b""
    try:
        s.sendall(message)
        return drain(s)
    except OSError:
        return b""
    finally:
        s.close()

def trusted():
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))

def tls(address, port, sni, message, alpn=None, verify=True):
    "Says something over TLS and returns the answer, or the name of the error."
    context = trusted() if verify else ssl._create_unverified_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    try:
        raw = socket.create_connection((address, port))
        with context.wrap_socket(raw, server_hostname=sni) as s:
            s.sendall(message)
            return drain(s)
    except (OSError, ssl.SSLError) as e:
        return ("ERROR " + str(e)).encode()

def get(host, path="/", extra=""):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}Connection: close\r\n\r\n".encode()

def status(answer):
    words = answer.split(b" ", 2)
    return words[1].decode() if len(words) > 2 and words[0].startswith(b"HTTP/") else "none"

def question(name, kind=1):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"

def ask(name, kind=1, server="192.0.2.53", port=53):
    "An answer over UDP, or b''."
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(2)
    try:
        s.sendto(question(name, kind), (server, port))
        return s.recv(4096)
    except OSError:
        return b""
    finally:
        s.close()

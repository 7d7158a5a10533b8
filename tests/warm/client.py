"""A program that a warm process runs, for whoever starts this one: same arguments, streams, signals and exit code.

If it is killed with -9, so is the process that runs the program.
"""

import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

server = socket.socket(socket.AF_UNIX)
server.connect(os.path.join(os.path.dirname(sys.argv[0]), "socket"))  # noqa: PTH118, PTH120 - pathlib takes longer to import
request = {"arguments": sys.argv, "directory": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
body = json.dumps(request).encode()
socket.send_fds(server, [b"%-16d" % len(body)], [0, 1, 2])
server.sendall(body)
answers = server.makefile()
process = int(answers.readline())
for number in FORWARDED:
    signal.signal(number, lambda received, _: os.kill(process, received))
code = int(answers.readline())
if code < 0:
    if -code in FORWARDED:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)

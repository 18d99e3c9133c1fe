"""A name server on 127.0.0.1, as long as a command runs: names.py NAME ADDRESS COMMAND…

Answers NAME with ADDRESS and whatever else is asked with "no such name" (RFC 1035).
"""

import socket
import struct
import subprocess
import sys
import threading

name, address, *command = sys.argv[1:]
asked = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))


def serve():
    while True:
        query, peer = server.recvfrom(512)
        question = query[12 : query.index(b"\0", 12) + 5]
        is_known = question[:-4].lower() == asked
        has_answer = is_known and question[-4:] == b"\0\1\0\1"
        flags = 0x8180 if is_known else 0x8183
        answer = query[:2] + struct.pack(">5H", flags, 1, int(has_answer), 0, 0) + question
        if has_answer:
            answer += b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 60, 4) + socket.inet_aton(address)
        server.sendto(answer, peer)


threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(command).returncode)

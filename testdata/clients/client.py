"""What a user of the Python package websockets does with the gateway.

Reads from standard input what to do and writes to standard output what it saw,
both as JSON, see clients_test.go.
"""

import asyncio
import base64
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def reported(message):
    kind = "text" if isinstance(message, str) else "binary"
    data = message.encode() if isinstance(message, str) else message
    return {"type": kind, "data": base64.b64encode(data).decode()}


async def exchange(url, subprotocol, messages):
    """Sends messages, one as soon as the one before has come back."""
    async with connect(url, subprotocols=[subprotocol]) as socket:
        received = []
        for message in messages:
            await socket.send(message)
            received.append(reported(await socket.recv()))
    return {
        "subprotocol": socket.subprotocol or "",
        "extensions": socket.response.headers.get("Sec-WebSocket-Extensions", ""),
        "received": received,
        "code": socket.close_code,
    }


async def misbehave(url, message):
    """Sends a message that the server cannot take, and reports the end."""
    async with connect(url) as socket:
        await socket.send(message)
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return {"code": socket.close_code, "reason": socket.close_reason}


async def main():
    todo = json.load(sys.stdin)
    url = todo["url"]
    json.dump(
        {
            "text": await exchange(url, "kafka-text", todo["text"]),
            "binary": await exchange(url, "kafka-binary", [base64.b64decode(m) for m in todo["binary"]]),
            "bad": await misbehave(url, todo["bad"]),
        },
        sys.stdout,
    )


asyncio.run(main())

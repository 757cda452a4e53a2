"""Runs kosoku, with one of its faults mended.

Autobahn gives its cases messages as bytes. kosoku gives them as str where they
came uncompressed, text as UTF-8 and the rest as Latin-1, and the cases of
sections 12 and 13 cannot take that. But a server may leave a message
uncompressed at any time (RFC 7692, section 6), and one that makes no message
longer has to.
"""

import kosoku.cases
from kosoku._cli import main


def with_bytes(on_message):
    def on_message_of_bytes(self, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        on_message(self, message, binary)

    return on_message_of_bytes


for name, case in kosoku.cases.CASES.items():
    if name.startswith(("12.", "13.")):
        case.onMessage = with_bytes(case.onMessage)

main()

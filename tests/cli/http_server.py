#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tests/cli/http_server.py FILE LOG [CERTIFICATE KEY]: servers good and bad, for tests/cli/fetch.

Binds 127.0.0.1 at a free port and prints the port; with a certificate and its key https at
another one, printed on the same line. Every path ends in a name of the file's; what stands
before it says how the server behaves:

    /good/            gives the file, and parts of it where Range asks
    /plain/           knows no Range
    /cut/N/           closes after N bytes of each answer
    /once/N/          the same, but only the first time
    /stall/N/         sends N bytes, then nothing
    /mute/            takes the request and says nothing
    /slow/N/          N bytes a tenth of a second
    /die/N/           sends N bytes, then the whole server is gone
    /changed/N/       first N bytes of another file, then, under another ETag, the right one
    /swapped/N/       the same without ETags: Range gives pieces that do not fit together
    /longer/          says the right length nowhere and sends more than that
    /short/           a whole answer, of half the file
    /other/           as long as the file, but of other bytes
    /beside/          answers Range by a range that was not asked for
    /redirect/N/      leads to /good/ by N redirects
    /loop/            leads to itself
    /to-file/         leads to file:///
    /to-http/ /to-https/  leads to /good/ by that scheme
    /down-up/         leads to /to-http/ by https
    /status/N/        HTTP status N

LOG gets a line for each request: path and what Range and If-Range asked for.
"""

import http.server
import os
import ssl
import sys
import threading
import time

content = open(sys.argv[1], "rb").read()
log = open(sys.argv[2], "a", buffering=1)
other = bytes(255 - byte for byte in content)
counts = {}
ports = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        print(self.path, asked or "-", condition or "-", file=log)
        counts[self.path] = counts.get(self.path, 0) + 1
        parts = self.path.strip("/").split("/")
        way = getattr(self, "way_" + parts[0].replace("-", "_"), None)
        number = int(parts[1]) if len(parts) > 2 else 0
        if way is None:
            self.fail(404)
        else:
            self.close_connection = True
            way(number, counts[self.path] == 1)

    def fail(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def redirect(self, to):
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def start(self, data, tag=None, ranges=True, beside=0):
        """The headers; the bytes that are to follow."""
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        fits = condition is None or condition == tag
        first = int(asked[6:].rstrip("-")) if asked and ranges and fits else 0
        if first and first >= len(data):
            self.fail(416)
            return b""
        self.send_response(206 if first else 200)
        if first:
            first -= beside
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        return data[first:]

    def way_good(self, number, first):
        self.wfile.write(self.start(content, '"right"'))

    def way_plain(self, number, first):
        self.wfile.write(self.start(content, ranges=False))

    def way_cut(self, number, first):
        self.wfile.write(self.start(content, '"right"')[:number])

    def way_once(self, number, first):
        data = self.start(content, '"right"')
        self.wfile.write(data[:number] if first else data)

    def way_stall(self, number, first):
        self.wfile.write(self.start(content, '"right"')[:number])
        self.wfile.flush()
        time.sleep(60)

    def way_mute(self, number, first):
        time.sleep(60)

    def way_slow(self, number, first):
        data = self.start(content, '"right"')
        for i in range(0, len(data), number):
            self.wfile.write(data[i : i + number])
            self.wfile.flush()
            time.sleep(0.1)

    def way_die(self, number, first):
        self.wfile.write(self.start(content, '"right"')[:number])
        self.wfile.flush()
        os._exit(1)

    def way_changed(self, number, first):
        if first:
            self.wfile.write(self.start(other, '"wrong"')[:number])
        else:
            self.wfile.write(self.start(content, '"right"'))

    def way_swapped(self, number, first):
        if first:
            self.wfile.write(self.start(other)[:number])
        else:
            self.wfile.write(self.start(content))

    def way_longer(self, number, first):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(content)

    def way_short(self, number, first):
        self.wfile.write(self.start(content[: len(content) // 2]))

    def way_other(self, number, first):
        self.wfile.write(self.start(other))

    def way_beside(self, number, first):
        data = self.start(content, '"right"', beside=1)
        self.wfile.write(data[: len(content) // 2] if first else data)

    def way_redirect(self, number, first):
        self.redirect(f"/redirect/{number - 1}/x" if number > 1 else "/good/x")

    def way_loop(self, number, first):
        self.redirect(self.path)

    def way_to_file(self, number, first):
        self.redirect("file:///etc/passwd")

    def way_to_http(self, number, first):
        self.redirect(f"http://127.0.0.1:{ports['http']}/good/x")

    def way_to_https(self, number, first):
        self.redirect(f"https://127.0.0.1:{ports['https']}/good/x")

    def way_down_up(self, number, first):
        self.redirect(f"https://127.0.0.1:{ports['https']}/to-http/x")

    def way_status(self, number, first):
        self.fail(number)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client):
        pass  # a client that has gone


def serve(scheme, certificate=None):
    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    ports[scheme] = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()


serve("http")
if len(sys.argv) > 4:
    serve("https", sys.argv[3:5])
print(*ports.values(), flush=True)
time.sleep(600)  # whoever started it ends it sooner

"""Hooks, migrations and pages that tenants put into their folders, in the forms that each PocketBase takes."""

from __future__ import annotations

#: GET /hello: what the hook sees of its environment; the same in every release.
HELLO = """
routerAdd("GET", "/hello", (e) => e.json(200, {
  process: process.env.GREETING || "", os: $os.getenv("GREETING"), names: Object.keys(process.env),
}))
"""

#: GET /say?from=A&to=B: prints "line A" .. "line B-1"; 0.23 and later.
SAY = """
routerAdd("GET", "/say", (e) => {
  const query = e.request.url.query()
  for (let i = parseInt(query.get("from")); i < parseInt(query.get("to")); i++) console.log("line " + i + " said")
  return e.json(200, {})
})
"""

#: GET /headers: the request as PocketBase got it; 0.23 and later.
HEADERS = """
routerAdd("GET", "/headers", (e) => e.json(200, {
  headers: e.request.header, host: e.request.host, remote: e.remoteIP(), path: e.request.url.string(),
}))
"""

#: GET /die: ends PocketBase at once, exit code 7.
DIE = """
routerAdd("GET", "/die", (e) => { console.log("asked to die"); $os.exit(7) })
"""

#: Ends PocketBase while it loads its hooks, with a token in its last words.
NEVER_STARTS = """
console.log("cannot find the licence file")
console.log("tried https://example.org/licence?token=SECRETSECRETSECRET")
$os.exit(3)
"""

#: GET /socket: a WebSocket that echoes small frames until it is closed; 0.23 and later. Goja has no SHA-1, so the
#: handshake is answered for the key of RFC 6455's own example.
WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WEBSOCKET_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
WEBSOCKET = """
routerAdd("GET", "/socket", (e) => {
  const [connection, stream] = e.response.hijack()
  connection.write(toBytes("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n"))
  while (true) {
    const head = stream.readByte(), size = stream.readByte() & 127, mask = [], body = []
    for (let i = 0; i < 4; i++) mask.push(stream.readByte())
    for (let i = 0; i < size; i++) body.push(stream.readByte() ^ mask[i % 4])
    if ((head & 15) === 8) { connection.write([0x88, 0]); break }
    connection.write([head, size].concat(body))
  }
  connection.close()
})
"""


def migration(version: str) -> str:
    """A migration that makes the public collection `made` with one text field, in this release's own syntax."""
    if version.startswith("0.22."):
        return """
migrate((db) => {
  const collection = new Collection({
    name: "made", type: "base", schema: [{name: "word", type: "text"}], listRule: "",
  })
  return new Dao(db).saveCollection(collection)
}, (db) => null)
"""
    return """
migrate((app) => {
  app.save(new Collection({name: "made", type: "base", fields: [{name: "word", type: "text"}], listRule: ""}))
}, (app) => null)
"""

-- Keeps a request waiting in HAProxy: while node finds or wakes its instance (protocol.py says how the two talk), or
-- until one of our own two servers listens. Finds out who the client of a trusted proxy is.
-- pocketfleet writes this file at every start; changes made here are lost.

local GATE = "unix@{{gate_socket}}"
local SERVERS = { control = "unix@{{control_socket}}", entrance = "unix@{{entrance_socket}}" }
local SERVER_SECONDS = {{server_seconds}}
local PUBLIC_URL = "{{public_url}}"
local ASK_AGAIN_MS = {{ask_again_ms}}
local WAKE_SECONDS = {{wake_seconds}}
local LONGEST_SECONDS = {{longest_seconds}}
local PAGE = [==[{{page}}]==]

local function now()
    local time = core.now()
    return time.sec + time.usec / 1e6
end

local function percent_encode(text)
    return (text:gsub("[^%w/._~-]", function(letter)
        return string.format("%%%02X", letter:byte())
    end))
end

local function percent_decode(text)
    return (text:gsub("%%(%x%x)", function(digits)
        return string.char(tonumber(digits, 16))
    end))
end

local HTML = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function html(text)
    return (text:gsub("[&<>\"']", HTML))
end

local function json(text)
    return '"' .. text:gsub('[%c"\\<>\127]', function(letter)
        return string.format("\\u%04x", letter:byte())
    end) .. '"'
end

-- One try. Whether anybody listened, and the answer's line, whole or not.
local function ask(question, seconds)
    local socket = core.tcp()
    socket:settimeout(seconds or LONGEST_SECONDS)
    if not socket:connect(GATE) then
        socket:close()
        return false, nil
    end
    local line
    if socket:send(question) then
        line = socket:receive("*l")
    end
    socket:close()
    return true, line
end

local function understand(line)
    local address = line:match("^{{version}} GO ([%d.]+:%d+) END$")
    if address then
        return { address = address }
    end
    local status, code, retry, reason = line:match("^{{version}} REFUSE (%d%d%d) ([%w_]+) (%S+) (%S+) END$")
    if status then
        reason = reason ~= "-" and percent_decode(reason) or ""
        return { status = tonumber(status), code = code, retry = tonumber(retry), reason = reason }
    end
    return nil
end

-- Asks until there is an answer. Nobody there, or half an answer, is a reason to ask again: node restarts.
local function answer_for(question)
    local deadline = now() + LONGEST_SECONDS
    local patience = now() + WAKE_SECONDS
    while true do
        local asked = now()
        local heard, line = ask(question)
        local answer = line and understand(line)
        if answer then
            return answer
        end
        if heard and now() - asked > 1 then
            patience = now() + WAKE_SECONDS
        end
        if now() > math.min(patience, deadline) then
            return { status = 503, code = "wake_timeout", retry = 5,
                     reason = "The part of this server that wakes instances does not answer." }
        end
        core.msleep(ASK_AGAIN_MS)
    end
end

local function wants_page(txn)
    return (txn.sf:req_fhdr("accept") or ""):lower():find("text/html", 1, true) ~= nil
end

local function refuse(txn, answer)
    local title = "The instance cannot answer now."
    local body, kind
    if wants_page(txn) then
        kind = "text/html; charset=utf-8"
        local words = { title = title, detail = html(answer.reason), status = tostring(answer.status), more = "" }
        body = PAGE:gsub("{{(%w+)}}", words)
    else
        kind = "application/problem+json"
        body = string.format('{"type":%s,"title":%s,"status":%d,"code":%s,"detail":%s}\n',
            json(PUBLIC_URL .. "/docs/errors#" .. answer.code), json(title), answer.status, json(answer.code),
            json(answer.reason))
    end
    local reply = txn:reply({ status = answer.status })
    reply:add_header("content-type", kind)
    reply:add_header("cache-control", "no-store")
    reply:add_header("access-control-allow-origin", "*")
    reply:add_header("x-content-type-options", "nosniff")
    reply:add_header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    if answer.retry then
        reply:add_header("retry-after", tostring(answer.retry))
    end
    if txn.sf:method() ~= "HEAD" then
        reply:set_body(body)
    end
    txn:done(reply)
end

core.register_action("ask_gate", { "http-req" }, function(txn, freshness)
    local cause = (txn.sf:method() or "") .. " " .. (txn.sf:path() or "")
    local question = string.format("{{version}} ASK %s %s %s END\n",
        txn:get_var("txn.instance"), freshness, percent_encode(cause:sub(1, {{longest_cause}})))
    local answer = answer_for(question)
    if answer.address then
        txn:set_var("txn.address", answer.address)
    else
        refuse(txn, answer)
    end
end, 1)

-- PocketBase answers a restore of its own at once, and begins a second later. Node must know before anybody could stop
-- it; where nobody listens at the gate, nobody stops it either.
core.register_action("tell_restore", { "http-res" }, function(txn)
    local told = string.format("{{version}} RESTORES %s END\n", txn:get_var("txn.instance"))
    local deadline = now() + {{notice_seconds}}
    repeat
        local _, line = ask(told, {{notice_seconds}})
        if line == "{{version}} NOTED END" then
            return
        end
        core.msleep(ASK_AGAIN_MS)
    until now() > deadline
end)

local TRUSTED = {}
for _, network in ipairs({ {{trusted}} }) do
    TRUSTED[#TRUSTED + 1] = core.parse_addr(network)
end

local function is_within(parsed, networks)
    for _, network in ipairs(networks) do
        if core.match_addr(parsed, network) then
            return true
        end
    end
    return false
end

local function is_trusted(parsed)
    return is_within(parsed, TRUSTED)
end

-- The address in one entry of X-Forwarded-For, and the same parsed; nothing where there is none. Some proxies add a port,
-- others write IPv4 in IPv6's clothes. HAProxy itself would take `010.1` and `2130706433` for addresses, too.
local function entry_address(entry)
    local text = entry:match("^%s*(.-)%s*$")
    text = text:match("^(%d+%.%d+%.%d+%.%d+):%d+$") or text:match("^%[([%x:.]+)%]:?%d*$") or text
    text = text:lower():gsub("^::ffff:(%d+%.%d+%.%d+%.%d+)$", "%1")
    local dotted = text:find("^%d+%.%d+%.%d+%.%d+$") and not ("." .. text):find("%.0%d")
    if not dotted and not text:find("^[%x.]*:[%x:.]*$") then
        return nil
    end
    local parsed = core.parse_addr(text)
    return parsed and text, parsed or nil
end

-- Each proxy appends whom it heard: from the right, the first address that is no trusted proxy's is the client's. What
-- stands left of it, or of anything that is no address, the client may have written itself.
local function client_of(headers)
    local client
    local lines = headers["x-forwarded-for"] or {}
    for number = lines[0] and #lines or -1, 0, -1 do
        local entries = {}
        for entry in (lines[number] .. ","):gmatch("([^,]*),") do
            entries[#entries + 1] = entry
        end
        for position = #entries, 1, -1 do
            local text, parsed = entry_address(entries[position])
            if not parsed then
                return client
            end
            client = text
            if not is_trusted(parsed) then
                return client
            end
        end
    end
    return client
end

-- A header that came once, in one piece.
local function only(headers, name)
    local lines = headers[name]
    return lines and not lines[1] and lines[0] or ""
end

core.register_action("believe_proxy", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    local client = client_of(headers)
    if client then
        txn:set_var("txn.client", client)
    end
    local scheme = only(headers, "x-forwarded-proto"):lower()
    if scheme == "http" or scheme == "https" then
        if scheme ~= txn:get_var("txn.scheme") then
            txn:set_var("txn.port", scheme == "https" and "443" or "80")
        end
        txn:set_var("txn.scheme", scheme)
    end
    local port = only(headers, "x-forwarded-port")
    if port:find("^[1-9]%d?%d?%d?%d?$") and tonumber(port) < 65536 then
        txn:set_var("txn.port", port)
    end
end)

-- What teams trust, parsed, by its text in trusted.map; forgotten once there are many.
local parsed_networks, parsed_count = {}, 0

local function networks_in(text)
    local found = parsed_networks[text]
    if found then
        return found
    end
    if parsed_count >= 1000 then
        parsed_networks, parsed_count = {}, 0
    end
    found = {}
    for network in text:gmatch("[^,]+") do
        found[#found + 1] = core.parse_addr(network)
    end
    parsed_networks[text], parsed_count = found, parsed_count + 1
    return found
end

-- Whether the client is one that this instance's team trusts; then it may say, in one header, for whom it asks.
core.register_action("trust", { "http-req" }, function(txn)
    local _, parsed = entry_address(txn.sf:src())
    if not parsed or not is_within(parsed, networks_in(txn:get_var("txn.networks"))) then
        return
    end
    txn:set_var("txn.trusted", true)
    local client = entry_address(only(txn.http:req_get_headers(), "{{client_header}}"))
    if client then
        txn:set_var("txn.named", client)
    end
end)

core.register_action("wait_for", { "http-req" }, function(_, server)
    local start = now()
    repeat
        local socket = core.tcp()
        socket:settimeout(1)
        local listens = socket:connect(SERVERS[server])
        socket:close()
        if listens then
            return
        end
        core.msleep(ASK_AGAIN_MS)
    until now() - start > SERVER_SECONDS
end, 1)

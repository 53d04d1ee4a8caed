-- Keeps a request waiting in HAProxy: while node finds or wakes its instance (protocol.py says how the two talk), or
-- until one of our own two servers listens.
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
        local words = { title = title, detail = html(answer.reason), status = tostring(answer.status) }
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
    reply:add_header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
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

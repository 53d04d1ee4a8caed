"""HAProxy: its configuration, Lua, routes, gate and counters; no Django."""

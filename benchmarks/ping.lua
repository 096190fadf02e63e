local heartbeats = tonumber(os.getenv("HEARTBEATS"))
local thread_number = 0
function setup(thread) thread_number = thread_number + 1; thread:set("number", thread_number) end
function init(args) math.randomseed(number * 7919 + os.time()) end
wrk.method = "POST"
wrk.body = "{}"
wrk.headers["Content-Type"] = "application/json"
function request() return wrk.format(nil, "/Heartbeat/bench-" .. math.random(heartbeats)) end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('JSON{"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end

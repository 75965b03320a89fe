"use strict";
// How a stream is, in words: stateOf(view) gives {label, kind, text}; kind is one of good, warn, bad, idle.

const STS_TROUBLE = {
  timeout: "STS takes too long", deadline: "STS answers too late", error: "STS does not answer", overload: "STS is full",
  invalid_output: "what STS answers is of no use", breaker_open: "STS failed too often",
};
const HEARD_INSTEAD = {
  original: "original is heard", background: "only the background is heard", ducked: "the original is heard, quieter",
  silence: "nothing is heard",
};

const clockTime = at => new Date(at * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});

const AWAY_PHASES = {failing: "", waiting: "; it is asked again from time to time",
  returning: "; it answers again, and is heard when several answers in a row were in time"};

function awayText({reason, message, heard, since, phase}) {
  const trouble = reason === "error" && message.startsWith("HTTP") ? "STS fails" : STS_TROUBLE[reason] ?? reason;
  return `dubbing is away: ${HEARD_INSTEAD[heard] ?? heard} (${trouble}, since ${clockTime(since)}${AWAY_PHASES[phase] ?? ""})`;
}

function breakText(onBreak) {
  if (!onBreak) return "in the break: original is heard, nothing is dubbed";
  const back = onBreak.until ? `; back by itself at ${clockTime(onBreak.until)}` : "";
  return `in the break since ${clockTime(onBreak.since)}: original is heard, nothing is dubbed${back}`;
}

function onAir(view) {
  const also = view.message ? ` · ${view.message}` : "";
  if (view.programme === "break") return {label: "in the break", kind: "warn", text: breakText(view.onBreak) + also};
  const away = view.dubAway ? awayText(view.dubAway) + also : view.message;
  if (view.programme === "silence") return {label: "on air, silent", kind: "bad", text: away || "no sound goes out"};
  if (view.mode === "bypass") return {label: "on air, not dubbed", kind: "good", text: view.message};
  if (view.programme === "bypass") return {label: "on air, original", kind: "warn", text: away || "the original goes out"};
  if (view.dubAway) return {label: "on air, dub away", kind: "bad", text: away};
  return {label: "on air", kind: "good", text: view.message};
}

function stateOf(view) {
  const why = view.message;
  switch (view.state) {
    case "running": return onAir(view);
    case "starting": return why
      ? {label: "starting again", kind: "warn", text: `the worker ended (${why}); another one takes its place`}
      : {label: "starting", kind: "warn", text: "a worker is being started"};
    case "grace": return {label: "publisher away", kind: "warn",
      text: "nobody publishes; the worker waits for the publisher to come back" + (why ? ` · ${why}` : "")};
    case "stopping": return {label: "stopping", kind: "warn", text: "the worker is being stopped"};
    case "degraded": return {label: "degraded", kind: "bad", text: `no worker runs: ${why || "it failed too often"}`};
    case "refused": return {label: "refused", kind: "bad", text: why || "there is no place for it"};
    case "idle": return {label: "ended", kind: "idle", text: "nobody publishes"};
    default: return {label: view.state, kind: "idle", text: why};
  }
}

"use strict";
// The phrases of a stream, the latest first: their waveforms, what became of them, and how they sounded.

const SHOWN = 60;
const STAGES = ["asr", "mt", "tts", "fit", "wait"];
const SOUND_NAMES = {original: "the original", dub: "the dub", out: "what went out"};
const PEAK_MS = 40;   // wire/status.py
const WHY = {timeout: "the service took too long", deadline: "too late", error: "the service failed",
  overload: "the service is full", invalid_output: "the answer was of no use", breaker_open: "the service is not asked now"};

// One sound of a phrase at a time, and none of the pictures' meanwhile.
const Listening = {
  audio: new Audio(), button: null, wanted: 0,
  async toggle(button, path) {
    const again = this.button === button;
    this.stop();
    if (again) return;
    this.button = button;
    button.setAttribute("aria-pressed", "true");
    const turn = ++this.wanted;
    try {
      const sound = await fetched(path);
      if (turn !== this.wanted) return;
      for (const player of Meters.players) player.hear(false);
      this.audio.src = URL.createObjectURL(sound);
      await this.audio.play();
    } catch (error) {
      if (turn === this.wanted) { this.stop(); throw error; }
    }
  },
  stop() {
    this.wanted++;
    this.audio.pause();
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.removeAttribute("src");
    this.button?.setAttribute("aria-pressed", "false");
    this.button = null;
  },
};
Listening.audio.addEventListener("ended", () => Listening.stop());

async function fetched(path) {
  const answer = await fetch(path, {cache: "no-store", headers: headers()});
  if (!answer.ok) throw new Refusal((await answer.json()).error?.message ?? `answered ${answer.status}`, answer.status);
  return answer.blob();
}

// A link cannot carry a token; without one the browser writes straight to disk.
async function download(path, name) {
  const link = element("a", {href: token ? URL.createObjectURL(await fetched(path)) : path, download: name});
  link.click();
  if (token) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const KEEPING_MS = 1500;

class Phrases {
  constructor(table, base) {
    this.table = table;
    this.base = base;
    this.name = base.slice(base.lastIndexOf("/") + 1);
    this.kept = [];
    this.sequence = 0;
    this.said = table.querySelector("[data-heard-said]");
    table.querySelector("[data-download]").addEventListener("click", () =>
      this.attempt(() => this.takeAway("trace.zip?minutes=10", `${this.name}-10-minutes.zip`)));
  }

  add(view) {
    const {sequence, phrase} = view;
    if (sequence <= this.sequence) return;
    this.sequence = sequence;
    this.kept = [...this.kept, view].slice(-SHOWN);
    this.outAt = performance.now() + Math.max(phrase.duration_ms, phrase.lag_ms + (phrase.dubbed_ms ?? 0)) + KEEPING_MS;
    const list = this.table.querySelector("table");
    const body = element("tbody", {}, this.row(phrase));
    list.tHead.after(body);
    while (list.tBodies.length > SHOWN) list.tBodies[list.tBodies.length - 1].remove();
    this.table.hidden = false;
    if (phrase.trace) this.table.querySelector("[data-download]").hidden = false;
  }

  // "12 of 13"; empty where nobody spoke.
  onTime(delayMs) {
    const since = Date.now() / 1000 - 60 - (delayMs ?? 0) / 1000;
    const recent = this.kept.map(view => view.phrase).filter(one => one.started_at > since && one.status !== "no_speech");
    return recent.length ? `${recent.filter(one => one.status === "dubbed").length} of ${recent.length}` : "";
  }

  row(phrase) {
    const more = element("button", {type: "button", className: "quiet", ariaExpanded: "false"}, clock(phrase.started_at));
    more.title = "hear it, take it away, and what it took";
    const row = element("tr", {className: phrase.status},
      element("td", {className: "number"}, more),
      element("td", {}, phrase.transcript),
      element("td", {}, phrase.translated_text),
      element("td", {}, waves(phrase)),
      element("td", {className: "number"}, seconds(phrase.rtt_ms, 2), stageBar(phrase)),
      element("td", {className: "number"}, seconds(phrase.margin_ms)),
      element("td", {}, outcome(phrase)));
    more.addEventListener("click", () => {
      const open = more.getAttribute("aria-expanded") === "true";
      more.setAttribute("aria-expanded", String(!open));
      if (open) row.nextElementSibling.remove();
      else row.after(this.details(phrase));
    });
    return row;
  }

  details(phrase) {
    const actions = element("div", {className: "row"}), said = element("span");
    said.setAttribute("role", "status");
    for (const sound of phrase.sounds ?? []) {
      const button = element("button", {type: "button", ariaPressed: "false"}, `hear ${SOUND_NAMES[sound] ?? sound}`);
      button.addEventListener("click", () =>
        this.attempt(() => {
          this.refuseWhileGoingOut(phrase);
          return Listening.toggle(button, `${this.base}/phrases/${phrase.trace}/${sound}.wav`);
        }, said));
      actions.append(button);
    }
    if (phrase.trace) {
      const button = element("button", {type: "button"}, "download it");
      button.addEventListener("click", () => this.attempt(() =>
        this.takeAway(`phrases/${phrase.trace}/trace.zip`, `${this.name}-${phrase.trace}.zip`), said));
      actions.append(button);
    }
    if (!(phrase.sounds ?? []).length)
      actions.append(element("span", {className: "dim"}, "To hear phrases here, set trace.sounds = true."));
    actions.append(said);
    const facts = [
      ...Object.entries(phrase.stage_ms).map(([stage, ms]) => `${stage} ${seconds(ms, 2)}`),
      `spoken ${seconds(phrase.duration_ms)}`, phrase.room_ms != null && `room ${seconds(phrase.room_ms)}`,
      phrase.dubbed_ms != null && `dub ${seconds(phrase.dubbed_ms)}`, phrase.lag_ms > 0 && `dub late by ${seconds(phrase.lag_ms)}`,
      ...(phrase.notes ?? []),
    ].filter(Boolean);
    return element("tr", {className: "more"},
      element("td", {colSpan: 7}, actions, element("p", {className: "dim"}, facts.join(" · "))));
  }

  // It is kept when it has gone out to its end, which is before the next one is told of.
  refuseWhileGoingOut(phrase) {
    const latest = this.kept.at(-1).phrase, left = this.outAt - performance.now();
    if (phrase === latest && left > 0) throw new Error(`it is still going out; in ${Math.ceil(left / 1000)} s it can be heard`);
  }

  takeAway(path, name) { return download(`${this.base}/${path}`, name); }

  async attempt(action, said = this.said) {
    said.textContent = "";
    try { await action(); } catch (error) { said.textContent = error.message; }
  }
}

const clock = at => new Date(at * 1000).toLocaleTimeString();

function outcome(phrase) {
  const what = {dubbed: "dubbed", no_speech: "no words heard", fallback: "original"}[phrase.status];
  const parts = [phrase.reason ? `${what}: ${WHY[phrase.reason] ?? phrase.reason}` : what];
  if (phrase.tempo) parts.push(`tempo ${phrase.tempo.toFixed(2)}`);
  if (phrase.voice) parts.push(phrase.voice);
  if (phrase.message) parts.push(phrase.message);
  return parts.join(" · ");
}

function stageBar(phrase) {
  const bar = element("div", {className: "stages"});
  const known = STAGES.filter(stage => phrase.stage_ms[stage] > 0);
  const whole = known.reduce((sum, stage) => sum + phrase.stage_ms[stage], 0);
  for (const stage of known) {
    const part = element("i", {className: stage, title: `${stage} ${seconds(phrase.stage_ms[stage], 2)}`});
    part.style.width = `${100 * phrase.stage_ms[stage] / whole}%`;
    bar.append(part);
  }
  return bar;
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The original above, the dub below over the room it had, on one scale of time.
function waves(phrase) {
  const starts = (phrase.dub_t0_ms ?? phrase.t0_ms) - phrase.t0_ms, room = phrase.room_ms ?? phrase.duration_ms;
  const dubbed = phrase.dubbed_ms ?? 0;
  const whole = Math.max(phrase.duration_ms, starts + room, starts + dubbed, 1);
  const label = `original ${seconds(phrase.duration_ms)}` + (dubbed ? `, dub ${seconds(dubbed)} in a room of ${seconds(room)}` : "")
    + (phrase.tempo ? `, tempo ${phrase.tempo.toFixed(2)}` : "");
  const heard = dubbed && phrase.dub_t0_ms !== null && phrase.dub_t0_ms !== undefined;
  return drawn("svg", {viewBox: `0 0 ${whole} 48`, preserveAspectRatio: "none", class: "waves", role: "img", "aria-label": label},
    drawn("title", {}, label),
    drawn("path", {class: "original", d: wave(phrase.original_peaks, 0, phrase.duration_ms, 12)}),
    ...(dubbed ? [
      drawn("rect", {class: "had", x: starts, y: 25, width: room, height: 22}),
      drawn("path", {class: heard ? "dub" : "dub unheard", d: wave(phrase.dub_peaks, starts, dubbed, 36)})] : []));
}

// Up and down from the middle; quiet parts are raised so that they can be seen. Without peaks, a block.
function wave(encoded, from, lasts, middle) {
  const peaks = encoded ? [...atob(encoded)].map(c => Math.max(0.5, 11 * Math.sqrt(c.charCodeAt(0) / 255))) : [8];
  const step = encoded ? PEAK_MS : lasts;
  return peaks.map((high, n) => {
    const left = from + n * step, width = Math.min(step, lasts - n * step);
    return width > 0 ? `M${left} ${(middle - high).toFixed(1)}h${width.toFixed(0)}v${(2 * high).toFixed(1)}h${-width.toFixed(0)}z` : "";
  }).join("");
}

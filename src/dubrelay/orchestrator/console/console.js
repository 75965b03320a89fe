"use strict";
// Text from streams only ever becomes text nodes, never markup.

const SHOWN = 60;
const NAMED_STATES = {
  idle: "ended", starting: "starting", running: "on air", grace: "publisher away", stopping: "stopping",
  degraded: "degraded", refused: "refused",
};
const WATCHED = new Set(["running", "grace"]);
const cards = new Map();   // stream id -> Card
const byId = id => document.getElementById(id);
let token = sessionStorage.getItem("token") ?? "";
let steers = true;

const headers = () => token ? {Authorization: `Bearer ${token}`} : {};

class Refusal extends Error {}

async function ask(path, options = {}) {
  const sent = {cache: "no-store", ...options, headers: {...headers(), ...options.headers}};
  const answer = await fetch(path, sent);
  if (answer.status === 401) { askForToken(); throw new Refusal("a token is needed"); }
  const body = await answer.json();
  if (!answer.ok) throw new Refusal(body.error?.message ?? `answered ${answer.status}`);
  return body;
}

function tell(path, method, body) {
  const json = body === undefined ? {} : {body: JSON.stringify(body)};
  return ask(path, {method, headers: {"Content-Type": "application/json"}, ...json});
}

function element(name, attributes, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children.map(child => child instanceof Node ? child : String(child ?? "")));
  return made;
}

const seconds = (ms, digits = 1) => ms === null || ms === undefined ? "" : `${(ms / 1000).toFixed(digits)} s`;

function bitrate(bitsPerSecond) {
  return bitsPerSecond === null || bitsPerSecond === undefined ? "" : `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
}

function parseGlossary(text) {
  return text.split("\n").map(line => line.trim()).filter(Boolean).map(line => {
    const [source, ...target] = line.split("=");
    return target.length ? {source: source.trim(), target: target.join("=").trim()} : {source: source.trim()};
  });
}

const glossaryText = terms => (terms ?? []).map(t => t.target ? `${t.source} = ${t.target}` : t.source).join("\n");

class Card {
  constructor(view) {
    this.id = view.streamId;
    this.base = `/v1/streams/${encodeURIComponent(this.id)}`;
    this.phrases = [];
    this.sequence = 0;
    this.players = {};
    this.root = byId("card").content.firstElementChild.cloneNode(true);
    this.root.setAttribute("aria-label", `Stream ${this.id}`);
    this.part("name").textContent = this.id;
    this.listen();
    this.update(view);
    this.catchUp();
    copyButtons(this.part("links"), this.base).catch(() => {});
  }

  part(name) { return this.root.querySelector(`[data-${name}]`); }

  listen() {
    this.part("programme").addEventListener("click", event => {
      if (event.target.value) this.steer(() => this.switchTo(event.target.value));
    });
    const form = this.part("controls");
    form.addEventListener("submit", event => {
      event.preventDefault();
      this.steer(() => this.put(this.formValues()));
    });
    form.elements.original_gain_db.addEventListener("input", () => this.showGain());
    form.elements.original_gain_db.addEventListener("change", () => this.steer(() => this.put(this.formValues())));
    this.part("charts").addEventListener("toggle", () => this.drawCharts());
  }

  async steer(action) {
    const said = this.part("said");
    try {
      const changed = await action();
      if (changed) said.textContent = {live: "Done.", restart: "The worker is being replaced.",
        next_start: "Kept for when the stream is there.", pending: "Kept; the worker has not answered yet."}[changed.applied];
    } catch (error) {
      said.textContent = `Not done: ${error.message}`;
    }
  }

  // Silence for all viewers is asked for twice.
  switchTo(programme) {
    if (programme === "silence" && !confirm(`No sound at all for the viewers of ${this.id}?`)) return null;
    return tell(`${this.base}/${programme}`, "POST");
  }

  formValues() {
    const fields = this.part("controls").elements;
    const gain = Number(fields.original_gain_db.value);
    const wanted = {glossary: parseGlossary(fields.glossary.value), original_gain_db: gain <= -40 ? -100 : gain};
    if (fields.target_language.value) wanted.target_language = fields.target_language.value.trim();
    if (fields.voice.value) wanted.voice = fields.voice.value.trim();
    return wanted;
  }

  // Only what differs from what is in force is set; the rest stays as it was set.
  async put(wanted) {
    const now = await ask(`${this.base}/config`);
    const changed = Object.entries(wanted).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(now.inForce[key]));
    if (!changed.length) return {applied: "live"};
    return tell(`${this.base}/config`, "PUT", {...now.api, ...Object.fromEntries(changed)});
  }

  showGain() {
    const gain = Number(this.part("controls").elements.original_gain_db.value);
    this.part("gain").textContent = gain <= -40 ? "off" : `${gain} dB`;
  }

  async fillControls() {
    const form = this.part("controls");
    if (!steers || form.contains(document.activeElement)) return;
    const {inForce} = await ask(`${this.base}/config`);
    form.elements.target_language.value = inForce.target_language ?? "";
    form.elements.voice.value = inForce.voice ?? "";
    form.elements.glossary.value = glossaryText(inForce.glossary);
    form.elements.original_gain_db.value = Math.max(-40, inForce.original_gain_db ?? -100);
    this.showGain();
    form.hidden = false;
  }

  update(view) {
    const first = this.view === undefined, before = this.view;
    this.view = view;
    const state = this.part("state");
    state.className = `state ${view.state}`;
    state.textContent = NAMED_STATES[view.state] ?? view.state;
    this.part("message").textContent = view.message;
    this.showFacts();
    this.showDestinations();
    for (const button of this.part("programme").children)
      button.setAttribute("aria-pressed", String(button.value === view.programme));
    this.watch();
    if (first || before.runId !== view.runId) this.fillControls().catch(() => {});
    if (view.lastSequence < this.sequence) { this.phrases = []; this.sequence = 0; }
    if (!first && view.lastSequence > this.sequence) this.catchUp();
  }

  watch() {
    for (const side of ["in", "out"]) {
      const wanted = WATCHED.has(this.view.state) && (side === "in" ? this.view.inputReady : this.view.outputReady);
      if (wanted && !this.players[side]) {
        const figure = this.root.querySelector(`[data-side=${side}]`);
        this.players[side] = new Player(figure, `${this.base}/preview/${side}/index.m3u8`, headers);
        if (Meters.context) this.players[side].meter();
      }
    }
  }

  showFacts() {
    const view = this.view, worker = view.worker;
    const facts = [
      ["spoken as", `${view.sourceLanguage} → ${view.targetLanguage}`],
      ["mode", view.mode],
      ["delay", seconds(view.delayMs)],
      ["A/V", view.avSyncMs === null ? "" : `${view.avSyncMs.toFixed(1)} ms`],
      ["on time, last minute", this.onTime()],
      ["reads", view.inputProtocol],
      ["CPU", worker?.cpuPercent == null ? "" : `${worker.cpuPercent.toFixed(0)} %`],
      ["memory", worker?.rssBytes == null ? "" : `${(worker.rssBytes / 1e6).toFixed(0)} MB`],
      ["restarts", view.restarts || ""],
      ["cost", view.cost === null ? "" : `${view.cost.toFixed(2)} so far`],
    ];
    this.part("facts").replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  onTime() {
    const since = Date.now() / 1000 - 60 - (this.view.delayMs ?? 0) / 1000;
    const recent = this.phrases.filter(({phrase}) => phrase.started_at > since && phrase.status !== "no_speech");
    return recent.length ? `${recent.filter(({phrase}) => phrase.status === "dubbed").length} of ${recent.length}` : "";
  }

  showDestinations() {
    const list = this.part("destinations"), all = this.view.destinations ?? [];
    list.hidden = !all.length;
    list.replaceChildren(...all.map(one => element("li", {className: "row"},
      element("span", {className: `state ${one.state === "forwarding" ? "running" : "degraded"}`}, one.state),
      element("strong", {}, one.name), element("span", {className: "dim"}, one.url ?? ""),
      element("span", {}, bitrate(one.bitsPerSecond)), element("span", {}, one.error ?? ""))));
  }

  async catchUp() {
    try {
      const details = await ask(`${this.base}?after=${this.sequence}`);
      for (const phrase of details.phrases ?? []) this.add(phrase);
    } catch (error) { /* the next list tells */ }
  }

  add(phrase) {
    if (phrase.sequence <= this.sequence) return;
    this.sequence = phrase.sequence;
    this.phrases = [...this.phrases, phrase].slice(-SHOWN);
    const body = this.root.querySelector("tbody");
    body.prepend(this.row(phrase.phrase));
    while (body.rows.length > SHOWN) body.lastElementChild.remove();
    this.part("phrases").hidden = false;
    this.showFacts();
  }

  row(phrase) {
    const stages = Object.entries(phrase.stage_ms).map(([stage, ms]) => `${stage} ${seconds(ms, 2)}`).join(", ");
    return element("tr", {className: phrase.status},
      element("td", {className: "number dim"}, new Date(phrase.started_at * 1000).toLocaleTimeString()),
      element("td", {}, phrase.transcript),
      element("td", {}, phrase.translated_text),
      element("td", {}, room(phrase)),
      element("td", {className: "number", title: stages}, seconds(phrase.rtt_ms, 2)),
      element("td", {className: "number"}, seconds(phrase.margin_ms)),
      element("td", {}, outcome(phrase)));
  }

  async drawCharts() {
    const charts = this.part("charts");
    if (!charts.open) return;
    const {rows} = await ask(`${this.base}/history`);
    if (rows.length) charts.querySelector(".charts").replaceChildren(...chartsOf(rows));
    clearTimeout(this.chartTimer);
    this.chartTimer = setTimeout(() => this.drawCharts().catch(() => {}), 5000);
  }

  close() {
    clearTimeout(this.chartTimer);
    for (const player of Object.values(this.players)) player.close();
    this.root.remove();
  }
}

// The original above, the dub below, on the same time: what sticks out at the right had no room.
function room(phrase) {
  const starts = (phrase.dub_t0_ms ?? phrase.t0_ms) - phrase.t0_ms, whole = Math.max(phrase.duration_ms, starts + (phrase.dubbed_ms ?? 0), 1);
  const bar = element("div", {className: "room"});
  const original = element("i", {}), dub = element("b", {});
  original.style.width = `${100 * phrase.duration_ms / whole}%`;
  dub.style.left = `${100 * starts / whole}%`;
  dub.style.width = `${100 * (phrase.dub_t0_ms === null ? 0 : phrase.dubbed_ms ?? 0) / whole}%`;
  bar.append(original, dub);
  bar.title = `original ${seconds(phrase.duration_ms)}, dub ${seconds(phrase.dubbed_ms)}` + (phrase.tempo ? `, tempo ${phrase.tempo.toFixed(2)}` : "");
  return bar;
}

function outcome(phrase) {
  const why = {timeout: "the service took too long", deadline: "too late", error: "the service failed",
    overload: "the service is full", invalid_output: "the answer was of no use", breaker_open: "the service is not asked now"};
  const what = {dubbed: "dubbed", no_speech: "no words heard", fallback: "original"}[phrase.status];
  const parts = [phrase.reason ? `${what}: ${why[phrase.reason] ?? phrase.reason}` : what];
  if (phrase.tempo) parts.push(`tempo ${phrase.tempo.toFixed(2)}`);
  if (phrase.voice) parts.push(phrase.voice);
  if (phrase.message) parts.push(phrase.message);
  return parts.join(" · ");
}

function show(streams) {
  const there = new Set(streams.map(stream => stream.streamId));
  for (const [id, card] of cards) if (!there.has(id)) { card.close(); cards.delete(id); }
  byId("none")?.remove();
  for (const view of streams) {
    if (cards.has(view.streamId)) { cards.get(view.streamId).update(view); continue; }
    const card = new Card(view);
    cards.set(view.streamId, card);
    byId("streams").append(card.root);
  }
  if (!streams.length) {
    const first = byId("no-streams").content.firstElementChild.cloneNode(true);
    const server = `rtmp://${location.hostname}:1935/live/STREAM`;
    first.id = "none";
    first.querySelector("[data-server]").textContent = server;
    first.querySelector("[data-ffmpeg]").textContent =
      `ffmpeg -re -i FILE -c:v libx264 -g 50 -c:a aac -f flv '${server}/in?key=KEY'`;
    byId("streams").append(first);
  }
  byId("summary").textContent = streams.length ? `${streams.length} stream${streams.length > 1 ? "s" : ""}` : "no streams yet";
}

function askForToken() {
  byId("login").hidden = false;
  byId("alerts").hidden = true;
  for (const card of cards.values()) card.close();
  cards.clear();
}

function heard(event, data) {
  if (event === "streams") show(data.streams);
  if (event === "alerts") showAlerts(data);
  if (event === "phrase") cards.get(data.streamId)?.add(data);
}

// EventSource cannot send a token, so the stream is read by fetch.
async function follow() {
  const answer = await fetch("/v1/events", {cache: "no-store", headers: headers()});
  if (answer.status === 401) { askForToken(); return false; }
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  problem("");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return true;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map(line => line.split(/: (.*)/s).slice(0, 2)));
      if (fields.data) heard(fields.event, JSON.parse(fields.data));
    }
  }
}

const problem = text => { byId("problem").textContent = text; };

async function followForEver() {
  let wait = 500;
  for (;;) {
    try {
      if (!await follow()) return;
      wait = 500;
    } catch (error) {
      problem("The orchestrator does not answer; trying again.");
      wait = Math.min(wait * 2, 5000);
    }
    await new Promise(done => setTimeout(done, wait));
  }
}

async function health() {
  try {
    const answer = await fetch("/healthz", {cache: "no-store"});
    problem((await answer.json()).reason ?? "");
  } catch (error) { /* `follow` says so */ }
  setTimeout(health, 5000);
}

async function begin() {
  byId("login").hidden = true;
  byId("leave").hidden = !token;
  try {
    const {role} = await ask("/v1/me");
    if (role === null) { askForToken(); return; }
    steers = role !== "viewer";
  } catch (error) {
    if (error instanceof Refusal) return;
  }
  followForEver();
}

byId("login").addEventListener("submit", event => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  sessionStorage.setItem("token", token);
  begin();
});
byId("leave").addEventListener("click", () => { sessionStorage.removeItem("token"); location.reload(); });
byId("sound").addEventListener("click", () => { Meters.start(); byId("sound").hidden = true; });
byId("sound").hidden = false;
health();
begin();

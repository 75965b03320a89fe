"use strict";
// Text from streams only ever becomes text nodes, never markup.

const HISTORY_ROWS = 720;   // as history.py keeps
const WATCHED = new Set(["running", "grace"]);
const UNWATCHED = new Set(["idle", "refused", "degraded"]);
const cards = new Map();   // stream id -> Card
const byId = id => document.getElementById(id);
let token = sessionStorage.getItem("token") ?? "";
let steers = true;
let instance = null;   // of the orchestrator: with another one the phrases count anew

const headers = () => token ? {Authorization: `Bearer ${token}`} : {};

class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const sent = {cache: "no-store", ...options, headers: {...headers(), ...options.headers}};
  const answer = await fetch(path, sent);
  if (answer.status === 401) { askForToken(); throw new Refusal("a token is needed", 401); }
  const body = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Refusal(body.error?.message ?? `answered ${answer.status}`, answer.status);
  return body;
}

function tell(path, method, body, more = {}) {
  const json = body === undefined ? {} : {body: JSON.stringify(body)};
  return ask(path, {method, headers: {"Content-Type": "application/json", ...more}, ...json});
}

function element(name, attributes, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children.map(child => child instanceof Node ? child : String(child ?? "")));
  return made;
}

// A text node that says the same already is left alone: nothing is drawn anew, no selection is lost.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const seconds = (ms, digits = 1) => ms === null || ms === undefined ? "" : `${(ms / 1000).toFixed(digits)} s`;

function bitrate(kbps) {
  return kbps === null || kbps === undefined ? "" : `${(kbps / 1000).toFixed(1)} Mbit/s`;
}

class Card {
  constructor(view) {
    this.id = view.streamId;
    this.base = `/v1/streams/${encodeURIComponent(this.id)}`;
    this.rows = [];
    this.players = {};
    this.root = byId("card").content.firstElementChild.cloneNode(true);
    this.root.setAttribute("aria-label", `Stream ${this.id}`);
    this.phrases = new Phrases(this.part("phrases"), this.base);
    this.part("name").textContent = this.id;
    this.controls = new Controls(this.part("controls"), this.id, this.base);
    this.audit = new Audit(this.part("audit"), this.base);
    this.destinations = new Destinations(this.part("destinations"), this.base, action => this.controls.report(action));
    this.recordings = new Recordings(this.part("recordings"), this.id, this.base, wanted => this.controls.put(wanted));
    this.part("charts").addEventListener("toggle", () => this.drawCharts());
    this.update(view);
    this.catchUp();
    copyButtons(this.part("links"), this.base).catch(() => {});
  }

  part(name) { return this.root.querySelector(`[data-${name}]`); }

  update(view) {
    const first = this.view === undefined;
    this.view = view;
    const {label, kind, text} = stateOf(view), state = this.part("state");
    state.className = `state ${kind}`;
    setText(state, label);
    setText(this.part("message"), text);
    this.showFacts();
    this.destinations.show(view.destinations ?? []);
    this.recordings.show(view.recording);
    this.controls.show(view);
    this.watch();
    if (!first && view.lastSequence > this.phrases.sequence) this.catchUp();
  }

  // Another orchestrator counts the phrases anew; what the one before said stays to be read.
  countAnew() { this.phrases.sequence = 0; }

  watch() {
    for (const side of ["in", "out"]) {
      const wanted = WATCHED.has(this.view.state) && (side === "in" ? this.view.inputReady : this.view.outputReady);
      const place = side === "out" && this.view.languagesReady ? "languages" : side;
      const url = `${this.base}/preview/${place}/index.m3u8`;
      if (wanted && this.players[side]) this.players[side].moveTo(url);
      else if (wanted) {
        const figure = this.root.querySelector(`[data-side=${side}]`);
        this.players[side] = new Player(figure, url, headers);
        if (Meters.context) this.players[side].meter();
        if (side === "out") {
          this.captions = new Captions(figure, this.players.out, this.base, () => this.view);
          this.tracks = new Tracks(figure, this.players.out);
        }
      } else if (UNWATCHED.has(this.view.state)) {
        this.players[side]?.close();
        delete this.players[side];
        if (side === "out") { this.captions?.close(); this.tracks?.close(); }
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
      ["on time, last minute", this.phrases.onTime(view.delayMs)],
      ["reads", view.inputProtocol],
      ["CPU", worker?.cpuPercent == null ? "" : `${worker.cpuPercent.toFixed(0)} %`],
      ["memory", worker?.rssBytes == null ? "" : `${(worker.rssBytes / 1e6).toFixed(0)} MB`],
      ["restarts", view.restarts || ""],
      ["cost", view.cost === null ? "" : `${view.cost.toFixed(2)} so far`],
    ];
    this.part("facts").replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  async catchUp() {
    try {
      const details = await ask(`${this.base}?after=${this.phrases.sequence}`);
      for (const phrase of details.phrases ?? []) this.add(phrase);
    } catch (error) { /* the next list tells */ }
  }

  add(phrase) {
    this.phrases.add(phrase);
    this.showFacts();
  }

  async drawCharts() {
    const charts = this.part("charts");
    if (!charts.open) return;
    clearTimeout(this.chartTimer);
    if (!document.hidden) await this.refreshCharts(charts);
    this.chartTimer = setTimeout(() => this.drawCharts().catch(() => {}), 5000);
  }

  // An hour of rows at most, of which only the new ones are asked for.
  async refreshCharts(charts) {
    const {rows} = await ask(`${this.base}/history?after=${this.rows.at(-1)?.at ?? 0}`);
    this.rows = [...this.rows, ...rows].slice(-HISTORY_ROWS);
    if (rows.length) charts.querySelector(".charts").replaceChildren(...chartsOf(this.rows, this.view.mode));
  }

  close() {
    clearTimeout(this.chartTimer);
    this.recordings.close();
    this.captions?.close();
    this.tracks?.close();
    for (const player of Object.values(this.players)) player.close();
    this.root.remove();
  }
}

function show(streams) {
  const there = new Set(streams.map(stream => stream.streamId));
  for (const [id, card] of cards) if (!there.has(id)) { card.close(); cards.delete(id); }
  for (const view of streams) {
    if (cards.has(view.streamId)) { cards.get(view.streamId).update(view); continue; }
    const card = new Card(view);
    cards.set(view.streamId, card);
    byId("streams").append(card.root);
  }
  FirstRun.show(streams);
  byId("summary").textContent = streams.length ? `${streams.length} stream${streams.length > 1 ? "s" : ""}` : "no streams yet";
}

function askForToken() {
  byId("login").hidden = false;
  byId("alerts").hidden = true;
  FirstRun.hide();
  for (const card of cards.values()) card.close();
  cards.clear();
}

function heard(event, data) {
  if (event === "streams") {
    if (data.instanceId !== instance) for (const card of cards.values()) card.countAnew();
    instance = data.instanceId;
    problem(data.problem);
    show(data.streams);
  }
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

const problem = text => setText(byId("problem"), text);

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
addEventListener("DOMContentLoaded", begin);   // all scripts are there

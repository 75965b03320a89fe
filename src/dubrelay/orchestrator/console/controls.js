"use strict";
// What an operator sets for a stream. Each group of controls sends its own settings and no others.

const DONE = {live: "Done.", restart: "The worker is being replaced.",
  next_start: "Kept for when the stream is there.", pending: "Kept; the worker has not answered yet."};
const OFF_DB = -40;   // the slider's end; below it there is nothing to be heard
const ONLY_DUBBED = new Set(["dub", "break"]);

function parseGlossary(text) {
  return text.split("\n").map(line => line.trim()).filter(Boolean).map(line => {
    const [source, ...target] = line.split("=");
    return target.length ? {source: source.trim(), target: target.join("=").trim()} : {source: source.trim()};
  });
}

const glossaryText = terms => (terms ?? []).map(t => t.target ? `${t.source} = ${t.target}` : t.source).join("\n");

class Controls {
  constructor(form, id, base) {
    this.form = form;
    this.id = id;
    this.base = base;
    this.said = form.querySelector("[data-said]");
    this.edited = false;   // what is typed and not sent yet is not written over
    this.programme = form.querySelector("[data-programme]");
    const act = (name, event, action) => form.querySelector(`[data-${name}]`).addEventListener(event, action);
    form.addEventListener("submit", event => event.preventDefault());
    act("programme", "click", event => { if (event.target.value) this.report(() => this.switchTo(event.target.value)); });
    act("spoken", "click", event => { if (event.target.type === "submit") this.report(() => this.put(this.spoken())); });
    act("terms", "click", event => { if (event.target.type === "submit") this.report(() => this.put(this.terms())); });
    for (const name of ["target_language", "voice", "glossary"])
      form.elements[name].addEventListener("input", () => { this.edited = true; });
    for (const slider of this.sliders()) {
      slider.addEventListener("input", () => this.showGain(slider));
      slider.addEventListener("change", () => this.report(() => this.put({[slider.name]: gainOf(slider)})));
    }
  }

  sliders() { return this.form.querySelectorAll("input[type=range]"); }

  async report(action) {
    try {
      const changed = await action();
      this.edited = false;
      setText(this.said, changed ? DONE[changed.applied] : "");
    } catch (error) {
      setText(this.said, `Not done: ${error.message}`);
    }
  }

  // No sound for all viewers is asked for once more.
  switchTo(programme) {
    if (programme === "silence" && !confirm(`No sound at all for the viewers of ${this.id}?`)) return null;
    const minutes = Number(this.form.elements.minutes.value);
    return tell(`${this.base}/${programme}`, "POST", programme === "break" && minutes ? {minutes} : undefined);
  }

  spoken() {
    const {target_language: language, voice} = this.form.elements;
    const wanted = {target_language: language.value.trim(), voice: voice.value.trim()};
    return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value));
  }

  terms() { return {glossary: parseGlossary(this.form.elements.glossary.value)}; }

  // Only what differs from what is in force is set; the rest stays as it was set, also by somebody else meanwhile.
  async put(wanted) {
    for (let tries = 0; ; tries += 1) {
      const now = await ask(`${this.base}/config`);
      const changed = Object.entries(wanted).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(now.inForce[key]));
      if (!changed.length) return {applied: "live"};
      const body = {...now.api, ...Object.fromEntries(changed)};
      try {
        return await tell(`${this.base}/config`, "PUT", body, {"If-Match": `"${now.version}"`});
      } catch (error) {
        if (error.status !== 412 || tries === 2) throw error;
      }
    }
  }

  showGain(slider) {
    const gain = gainOf(slider);
    setText(slider.parentElement.querySelector("output"), gain <= OFF_DB ? "off" : `${gain} dB`);
  }

  show(view) {
    for (const button of this.programme.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === view.programme));
      button.disabled = view.mode === "bypass" && ONLY_DUBBED.has(button.value);
    }
    const set = [view.runId, view.targetLanguage, view.voice, view.configChanges].join();
    if (!steers || set === this.shown || this.edited || this.form.contains(document.activeElement)) return;
    this.shown = set;
    this.fill().catch(() => { this.shown = null; });
  }

  async fill() {
    const {inForce} = await ask(`${this.base}/config`);
    const {target_language: language, voice, glossary} = this.form.elements;
    language.value = inForce.target_language ?? "";
    voice.value = inForce.voice ?? "";
    glossary.value = glossaryText(inForce.glossary);
    for (const slider of this.sliders()) {
      slider.value = Math.max(OFF_DB, inForce[slider.name] ?? -100);
      this.showGain(slider);
    }
    this.form.hidden = false;
  }
}

const gainOf = slider => Number(slider.value) <= OFF_DB ? -100 : Number(slider.value);

// Who changed what: GET /v1/streams/ID/audit, asked for while it is open.
class Audit {
  constructor(details, base) {
    this.list = details.querySelector("ol");
    this.base = base;
    this.details = details;
    details.addEventListener("toggle", () => this.refresh());
  }

  async refresh() {
    if (!this.details.open) return;
    const {entries} = await ask(`${this.base}/audit?limit=20`);
    this.list.replaceChildren(...entries.map(entry => element("li", {},
      element("span", {className: "dim"}, new Date(entry.at * 1000).toLocaleTimeString()), " ",
      element("strong", {}, entry.who), ` ${entry.action} `,
      element("span", {className: "dim"}, entry.changes.map(changeText).join("; ")))));
  }
}

const shownValue = value => value === null || value === undefined ? "not set"
  : typeof value === "object" ? JSON.stringify(value) : String(value);
const isTime = key => key === "break_until";
const changeText = ({key, ...change}) => {
  const [before, after] = [change.before, change.after].map(value => isTime(key) && value ? clockTime(value) : shownValue(value));
  return `${key}: ${before} → ${after}`;
};

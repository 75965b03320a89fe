"use strict";
// What was recorded of a stream's output, and whether it is being recorded now.

const RECORDING_STATES = {
  off: ["idle", "not recorded"], waiting: ["warn", "to be recorded"], recording: ["good", "recording"],
  full: ["bad", "recording stopped: full"], failing: ["bad", "recording fails"],
};
const LIST_EVERY_MS = 5000;

function size(bytes) {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

function length(wholeSeconds) {
  const parts = [wholeSeconds / 3600, wholeSeconds / 60 % 60, wholeSeconds % 60].map(Math.floor);
  return parts.map((part, n) => n ? String(part).padStart(2, "0") : String(part)).join(":");
}

class Recordings {
  constructor(root, id, base, put) {
    this.root = root;
    this.id = id;
    this.base = base;
    this.put = put;   // sets settings of the stream
    this.recorded = false;   // or to be
    this.rows = new Map();   // file -> what its row was made of, and the row
    this.part("switch").hidden = !steers;
    this.part("switch").addEventListener("click", () => this.attempt(() => this.put({record: !this.recorded})));
    root.addEventListener("toggle", () => this.list());
  }

  part(name) { return this.root.querySelector(`[data-recordings-${name}]`); }

  show({state, message, since}) {
    const [kind, words] = RECORDING_STATES[state] ?? ["idle", state], pill = this.part("state");
    pill.className = `state ${kind}`;
    setText(pill, words);
    pill.title = since ? `since ${new Date(since * 1000).toLocaleString()}` : "";
    setText(this.part("message"), message);
    this.recorded = state !== "off";
    setText(this.part("switch"), this.recorded ? "Stop recording" : "Record");
  }

  async list() {
    clearTimeout(this.timer);
    if (!this.root.open) return;
    try {
      const found = await ask(`${this.base}/recordings`);
      this.part("total").textContent = `${size(found.totalBytes)} of ${size(found.limitBytes)} for all streams`;
      this.fill(found.recordings);
    } catch (error) { /* asked for again */ }
    clearTimeout(this.timer);
    if (this.root.open) this.timer = setTimeout(() => this.list(), LIST_EVERY_MS);
  }

  // A row that would look the same stays the same element: what has the focus keeps it.
  fill(recordings) {
    const before = this.rows;
    this.rows = new Map(recordings.map(one => {
      const made = JSON.stringify(one), old = before.get(one.file);
      return [one.file, old?.made === made ? old : {made, row: this.row(one)}];
    }));
    for (const [file, {row}] of before) if (this.rows.get(file)?.row !== row) row.remove();
    const body = this.root.querySelector("tbody");
    [...this.rows.values()].forEach(({row}, n) => {
      if (body.rows[n] !== row) body.insertBefore(row, body.rows[n] ?? null);
    });
    this.part("none").hidden = recordings.length > 0;
    this.root.querySelector("table").hidden = !recordings.length;
  }

  row(one) {
    const began = new Date(one.startedAt * 1000).toLocaleString();
    const files = element("td", {}, this.link(one.file, "video", `Download the recording of ${began}`));
    for (const {language, file} of one.captions)
      files.append(" ", this.link(file, language, `Download its captions, ${language}`));
    const actions = element("td", {});
    if (one.open) actions.append("being written");
    else if (steers) actions.append(this.button("delete", `Delete the recording of ${began}`, () => this.remove(one, began)));
    return element("tr", {}, element("td", {className: "number"}, began),
      element("td", {className: "number"}, length(one.durationS)),
      element("td", {className: "number"}, size(one.sizeBytes)), files, actions);
  }

  link(file, text, label) {
    const path = `/v1/recordings/${encodeURIComponent(this.id)}/${encodeURIComponent(file)}`;
    return this.button(text, label, () => download(path, `${this.id}_${file}`));
  }

  button(text, label, act) {
    const made = element("button", {type: "button", className: "quiet", ariaLabel: label}, text);
    made.addEventListener("click", () => this.attempt(act));
    return made;
  }

  async remove(one, began) {
    if (!confirm(`Delete the recording of ${began} (${size(one.sizeBytes)}) and its captions? It cannot be had back.`)) return;
    await tell(`/v1/recordings/${encodeURIComponent(this.id)}/${encodeURIComponent(one.file)}`, "DELETE");
    await this.list();
  }

  async attempt(action) {
    try {
      await action();
      this.part("said").textContent = "";
    } catch (error) {
      this.part("said").textContent = `Not done: ${error.message}`;
    }
  }

  close() { clearTimeout(this.timer); }
}

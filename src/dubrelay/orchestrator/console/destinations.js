"use strict";
// Where a stream's output goes on to, a row each that stays the same element: what has the focus keeps it.

const DESTINATION_KINDS = {forwarding: "good", connecting: "warn", stopped: "idle"};

class Destinations {
  constructor(list, base, report) {
    this.list = list;
    this.base = base;
    this.report = report;   // takes a promise of what was asked for, and says how it went
    this.rows = new Map();
  }

  show(all) {
    this.list.hidden = !all.length;
    for (const [name, row] of this.rows) {
      if (all.some(one => one.name === name)) continue;
      row.root.remove();
      this.rows.delete(name);
    }
    for (const one of all) this.row(one.name).show(one);
  }

  row(name) {
    if (!this.rows.has(name)) {
      const row = new DestinationRow(name, stop => this.report(() => this.steer(name, stop)));
      this.rows.set(name, row);
      this.list.append(row.root);
    }
    return this.rows.get(name);
  }

  // Nobody there sees the stream any more: that is asked for once more.
  async steer(name, stop) {
    if (stop && !confirm(`Stop sending to ${name}? Its viewers lose the stream.`)) return;
    const path = `${this.base}/destinations/${encodeURIComponent(name)}/${stop ? "stop" : "start"}`;
    await tell(path, "POST");
  }
}

class DestinationRow {
  constructor(name, steer) {
    this.state = element("span", {});
    this.url = element("span", {className: "dim"});
    this.rate = element("span", {className: "number"});
    this.error = element("span", {});
    this.button = element("button", {type: "button", className: "quiet", hidden: !steers});
    this.button.addEventListener("click", () => steer(this.button.value === "stop"));
    this.root = element("li", {className: "row"}, this.state, element("strong", {}, name), this.url, this.rate,
      this.error, this.button);
    this.name = name;
  }

  show(view) {
    const well = view.state === "forwarding" || view.state === "stopped";
    this.state.className = `state ${DESTINATION_KINDS[view.state] ?? (view.state ? "bad" : "idle")}`;
    setText(this.state, view.state ?? "not on air");
    setText(this.url, view.url);
    setText(this.rate, view.state === "forwarding" ? bitrate(view.bitrateKbps) : "");
    setText(this.error, well ? "" : view.lastError);
    const act = view.state === "stopped" ? "start" : "stop";
    this.button.value = act;
    setText(this.button, act);
    this.button.setAttribute("aria-label", `${act} ${this.name}`);
  }
}

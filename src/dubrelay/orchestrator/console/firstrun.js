"use strict";
// While there is no stream: where to send one, what this machine lacks; and the demo programme, while it is on as well.

const SAMPLE = "/v1/sample";
const SAMPLE_LOOK_MS = {making: 1000, off: 5000, publishing: 5000, failed: 5000};
const SAMPLE_SAID = {
  off: () => "Spoken news over music, published from this machine as the stream demo.",
  making: view => `The programme is being made, this once: ${view.percent} %.`,
  publishing: () => "The demo programme is on: stream demo.",
  failed: view => `The demo programme is not on: ${view.message}.`,
};

const FirstRun = {
  none: false,    // no stream at all
  quiet: false,   // none that has not ended
  filled: false,
  sample: {state: "off"},
  timer: 0,

  show(streams) {
    const before = this.quiet, demo = streams.some(stream => stream.streamId === "demo");
    this.none = !streams.length;
    this.quiet = streams.every(stream => stream.state === "idle");
    byId("first").hidden = !this.none;
    if (this.none && !this.filled) this.fill();
    if (this.quiet !== before || demo !== this.demo) this.look();
    this.demo = demo;
  },

  hide() {
    clearTimeout(this.timer);
    Object.assign(this, {none: false, quiet: false, filled: false, demo: undefined, sample: {state: "off"}});
    byId("first").hidden = byId("sample").hidden = true;
  },

  fill() {
    this.filled = true;
    this.fillAddresses().catch(() => { this.filled = false; });
    this.doctor();
  },

  async fillAddresses() {
    const to = await ask("/v1/addresses");
    byId("first-server").textContent = to.obsServer;
    byId("first-stream-key").textContent = to.obsStreamKey;
    byId("first-ffmpeg").textContent = to.ffmpeg;
    byId("first-new-key").textContent = to.newKey;
    byId("first-key").hidden = !to.needsKey;
    showCopyButtons(byId("first-copy"), [["server", to.obsServer], ["stream key", to.obsStreamKey], ["ffmpeg line", to.ffmpeg]]);
  },

  async doctor() {
    const said = byId("doctor-said"), again = byId("doctor-again");
    again.hidden = true;
    said.textContent = "Looking what is there ...";
    try {
      const lacking = (await ask("/v1/doctor")).rows.filter(row => !row.ok);
      byId("doctor").hidden = !lacking.length;
      byId("doctor").querySelector("tbody").replaceChildren(...lacking.map(row => element("tr", {},
        element("th", {scope: "row"}, row.name), element("td", {}, row.found), element("td", {}, row.remedy))));
      said.textContent = lacking.length ? `Not as it should be: ${lacking.length}.` : "Everything needed is there.";
    } catch (error) {
      said.textContent = `Not known: ${error.message}.`;
    }
    again.hidden = false;
  },

  // Again and again, until it is off while streams are on: whoever starts it then makes a stream, and that is seen.
  async look() {
    clearTimeout(this.timer);
    try {
      this.showSample(await ask(SAMPLE));
    } catch (error) {
      if (error.status === 401) return;
    }
    if (this.quiet || this.sample.state !== "off")
      this.timer = setTimeout(() => this.look(), SAMPLE_LOOK_MS[this.sample.state]);
  },

  showSample(view) {
    this.sample = view;
    const on = view.state === "making" || view.state === "publishing", button = byId("sample-switch");
    byId("sample").hidden = !(this.quiet || view.state !== "off") || !(steers || on);
    button.hidden = !steers;
    setText(button, on ? "Stop the demo programme" : "Start the demo programme");
    setText(byId("sample-said"), SAMPLE_SAID[view.state](view));
  },

  async switchSample() {
    const button = byId("sample-switch"), on = this.sample.state === "making" || this.sample.state === "publishing";
    button.disabled = true;
    try {
      this.showSample(await tell(SAMPLE, on ? "DELETE" : "POST"));
      this.look();
    } catch (error) {
      byId("sample-said").textContent = `Not done: ${error.message}.`;
    }
    button.disabled = false;
  },
};

byId("sample-switch").addEventListener("click", () => FirstRun.switchSample());
byId("doctor-again").addEventListener("click", () => FirstRun.doctor());

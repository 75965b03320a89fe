"use strict";
// A live picture with its level meter. Pictures start muted, as browsers want it; meters need a click first.

const Meters = {
  context: null,
  players: new Set(),
  start() {
    this.context ??= new AudioContext();
    this.context.resume();
    for (const player of this.players) player.meter();
    requestAnimationFrame(() => this.draw());
  },
  draw() {
    for (const player of this.players) player.drawLevel();
    requestAnimationFrame(() => this.draw());
  },
};

class Player {
  constructor(figure, url, headers) {
    this.url = url;
    this.headers = headers;
    this.audible = false;
    this.video = Object.assign(document.createElement("video"), {muted: true, autoplay: true, playsInline: true});
    this.video.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
    this.button = Object.assign(document.createElement("button"), {type: "button", className: "quiet", textContent: "listen"});
    this.button.setAttribute("aria-pressed", "false");
    this.button.addEventListener("click", () => this.toggle());
    this.bar = document.createElement("i");
    const meter = Object.assign(document.createElement("span"), {className: "meter"});
    meter.setAttribute("aria-hidden", "true");
    meter.append(this.bar);
    figure.querySelector("figcaption").append(this.button, meter);
    figure.append(this.video);
    this.retry = 0;
    Meters.players.add(this);
    this.load();
  }

  load() {
    clearTimeout(this.retry);
    this.hls?.destroy();
    this.hls = new Hls({
      lowLatencyMode: true, maxBufferLength: 10, backBufferLength: 10, liveDurationInfinity: true,
      xhrSetup: xhr => { for (const [key, value] of Object.entries(this.headers())) xhr.setRequestHeader(key, value); },
    });
    this.hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) this.again(); });
    this.hls.on(Hls.Events.MANIFEST_PARSED, () => this.video.play().catch(() => {}));
    this.hls.loadSource(this.url);
    this.hls.attachMedia(this.video);
  }

  again() {
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.load(), 2000);
  }

  toggle() {
    Meters.start();
    this.audible = !this.audible;
    for (const player of Meters.players) if (player !== this) player.hear(false);
    this.hear(this.audible);
  }

  hear(on) {
    this.audible = on;
    this.button.setAttribute("aria-pressed", String(on));
    if (this.gain) this.gain.gain.value = on ? 1 : 0;
  }

  // What the page hears goes through a gain, so that the meter shows what nobody listens to as well.
  meter() {
    if (this.gain || !Meters.context) return;
    const source = Meters.context.createMediaElementSource(this.video);
    this.analyser = Meters.context.createAnalyser();
    this.analyser.fftSize = 2048;
    this.gain = Meters.context.createGain();
    this.gain.gain.value = this.audible ? 1 : 0;
    source.connect(this.analyser);
    source.connect(this.gain).connect(Meters.context.destination);
    this.video.muted = false;
    this.samples = new Float32Array(this.analyser.fftSize);
  }

  // RMS of the latest 40 ms in dBFS; null before the first click.
  get levelDb() {
    if (!this.analyser) return null;
    this.analyser.getFloatTimeDomainData(this.samples);
    return 10 * Math.log10(this.samples.reduce((sum, x) => sum + x * x, 0) / this.samples.length + 1e-10);
  }

  drawLevel() {
    const level = this.levelDb;
    if (level !== null) this.bar.style.width = `${Math.max(0, Math.min(100, (level + 60) / 60 * 100))}%`;
  }

  close() {
    clearTimeout(this.retry);
    this.hls?.destroy();
    Meters.players.delete(this);
  }
}

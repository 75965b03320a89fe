"use strict";
// A live picture with its level meter. Pictures start muted, as browsers want it; meters need a click first.

const METER_MS = 66;   // levels are drawn so often; more is not seen and costs every frame

const Meters = {
  context: null,
  players: new Set(),
  drawnAt: 0,
  start() {
    const first = this.context === null;
    this.context ??= new AudioContext();
    this.context.resume();
    for (const player of this.players) player.meter();
    if (first) requestAnimationFrame(now => this.draw(now));
  },
  draw(now) {
    if (now - this.drawnAt >= METER_MS) {
      this.drawnAt = now;
      for (const player of this.players) if (player.watched) player.drawLevel();
    }
    requestAnimationFrame(next => this.draw(next));
  },
};

// A picture that nobody listens to is not fetched while nobody sees it: the tab is hidden, or it is scrolled away.
const Watched = {
  observer: new IntersectionObserver(entries => {
    for (const {target, isIntersecting} of entries) {
      const player = [...Meters.players].find(one => one.video === target);
      if (player) { player.onScreen = isIntersecting; player.watch(); }
    }
  }, {rootMargin: "200px"}),
};
document.addEventListener("visibilitychange", () => { for (const player of Meters.players) player.watch(); });

// hls.js is MediaMTX's: if that was away when the page was loaded, it is asked for again.
const HlsScript = {
  asked: false,
  ask() {
    if (this.asked) return;
    this.asked = true;
    const script = Object.assign(document.createElement("script"), {src: "/console/hls.min.js"});
    script.onload = script.onerror = () => { this.asked = false; script.remove(); };
    document.head.append(script);
  },
};

class Player {
  constructor(figure, url, headers) {
    this.url = url;
    this.headers = headers;
    this.audible = false;
    this.onScreen = true;
    this.watched = false;
    this.video = Object.assign(document.createElement("video"), {muted: true, autoplay: true, playsInline: true});
    this.video.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
    this.button = Object.assign(document.createElement("button"), {type: "button", className: "quiet", textContent: "listen"});
    this.button.setAttribute("aria-pressed", "false");
    this.button.addEventListener("click", () => this.toggle());
    this.bar = document.createElement("i");
    const meter = this.scale = Object.assign(document.createElement("span"), {className: "meter"});
    meter.setAttribute("aria-hidden", "true");
    meter.append(this.bar);
    figure.querySelector("figcaption").append(this.button, meter);
    figure.append(this.video);
    this.retry = 0;
    this.onTracks = () => {};   // there are other sounds to choose from
    Meters.players.add(this);
    Watched.observer.observe(this.video);
    this.watch();
  }

  // Only while somebody sees or hears it.
  watch() {
    const wanted = this.audible || (this.onScreen && !document.hidden);
    if (wanted === this.watched) return;
    this.watched = wanted;
    if (wanted) this.load();
    else this.unload();
  }

  unload() {
    clearTimeout(this.retry);
    this.hls?.destroy();
    this.hls = null;
  }

  load() {
    this.unload();
    if (!window.Hls) { HlsScript.ask(); this.again(); return; }
    this.hls = new Hls({
      lowLatencyMode: true, maxBufferLength: 10, backBufferLength: 10, liveDurationInfinity: true,
      xhrSetup: xhr => { for (const [key, value] of Object.entries(this.headers())) xhr.setRequestHeader(key, value); },
    });
    this.hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) this.again(); });
    this.hls.on(Hls.Events.MANIFEST_PARSED, () => this.video.play().catch(() => {}));
    for (const event of [Hls.Events.AUDIO_TRACKS_UPDATED, Hls.Events.AUDIO_TRACK_SWITCHING])
      this.hls.on(event, () => this.onTracks());
    this.hls.loadSource(this.url);
    this.hls.attachMedia(this.video);
  }

  // The same picture at another address.
  moveTo(url) {
    if (url === this.url) return;
    this.url = url;
    if (this.watched) this.load();
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
    this.watch();
  }

  // What the page hears goes through a gain, so that the meter shows what nobody listens to as well.
  meter() {
    if (this.gain || !Meters.context) return;
    const source = this.source = Meters.context.createMediaElementSource(this.video);
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
    if (level !== null) this.bar.style.transform = `scaleX(${Math.max(0, Math.min(1, (level + 60) / 60)).toFixed(2)})`;
  }

  close() {
    this.unload();
    Watched.observer.unobserve(this.video);
    Meters.players.delete(this);
    for (const node of [this.source, this.analyser, this.gain]) node?.disconnect();
    for (const shown of [this.video, this.button, this.scale]) shown.remove();
  }
}

"use strict";
// Captions in the picture of `out`: the browser's own text track, filled from captions.vtt.

const CAPTIONS_MS = 1500;      // a phrase is known seconds before it is heard
const CAPTIONS_BACK_S = 10;
const CAPTIONS_DRIFT_S = 0.05;

class Captions {
  constructor(figure, player, base, view) {
    this.player = player;
    this.base = base;
    this.view = view;
    this.choice = element("select", {ariaLabel: "captions"},
      ...[["", "no captions"], ["dub", "captions: the dub"], ["original", "captions: the original"]].map(([value, text]) =>
        element("option", {value}, text)));
    this.choice.addEventListener("change", () => this.begin());
    figure.querySelector("figcaption").append(this.choice);
    this.track = player.video.addTextTrack("captions", "captions");
    this.track.mode = "hidden";
  }

  begin() {
    clearTimeout(this.timer);
    this.clear();
    this.track.mode = this.choice.value ? "showing" : "hidden";
    if (this.choice.value) this.follow();
  }

  async follow() {
    const chosen = this.choice.value;
    try {
      if (this.player.hls?.playingDate && !document.hidden) await this.refresh(chosen);
    } catch (error) { /* the next time */ }
    if (chosen === this.choice.value) this.timer = setTimeout(() => this.follow(), CAPTIONS_MS);
  }

  // The playlist says at which time of day each picture is; a cue belongs where the video has that time.
  async refresh(chosen) {
    const view = this.view();
    const language = chosen === "dub" ? view.targetLanguage : view.sourceLanguage;
    const since = Math.floor(this.player.hls.playingDate / 1000) - CAPTIONS_BACK_S;
    const answer = await fetch(`${this.base}/captions.vtt?lang=${encodeURIComponent(language)}&since=${since}`,
      {cache: "no-store", headers: headers()});
    if (!answer.ok || chosen !== this.choice.value || !this.player.hls?.playingDate) return;
    const text = await answer.text();
    const offset = this.player.video.currentTime - this.player.hls.playingDate / 1000;
    if (Math.abs(offset - (this.offset ?? offset)) > CAPTIONS_DRIFT_S) this.clear();
    this.offset ??= offset;
    const known = new Map([...this.track.cues].map(cue => [cue.id, cue]));
    for (const {start, end, payload} of cuesOf(text)) {
      if (!start) continue;   // cut there, and over
      const id = (since + start).toFixed(1), ends = since + end + this.offset;
      if (known.has(id)) { known.get(id).endTime = ends; continue; }   // the next one may end it sooner
      const cue = new VTTCue(since + start + this.offset, ends, payload);
      cue.id = id;
      this.track.addCue(cue);
    }
    for (const cue of [...this.track.cues])
      if (cue.endTime < this.player.video.currentTime - CAPTIONS_BACK_S) this.track.removeCue(cue);
  }

  clear() {
    this.offset = undefined;
    for (const cue of [...this.track.cues ?? []]) this.track.removeCue(cue);
  }

  close() {
    clearTimeout(this.timer);
    this.track.mode = "disabled";
    this.choice.remove();
  }
}

// Of what the orchestrator writes (orchestrator/captions.py): no settings, no regions, the payload escaped.
function cuesOf(text) {
  const at = clock => clock.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  return text.split("\n\n").slice(1).map(block => {
    const [timing, ...lines] = block.trimEnd().split("\n");
    const [start, end] = timing.split(" --> ").map(at);
    return {start, end, payload: lines.join("\n")};
  });
}

"use strict";
// Which of the sounds of `out` is played, where it has several: the playlist says what they are called.

class Tracks {
  constructor(figure, player) {
    this.player = player;
    this.wanted = "";   // by name: another connection may number them anew
    this.choice = element("select", {ariaLabel: "sound", hidden: true});
    this.choice.addEventListener("change", () => { this.wanted = this.choice.value; this.play(); });
    figure.querySelector("figcaption").append(this.choice);
    player.onTracks = () => this.show();
    this.show();
  }

  get tracks() { return this.player.hls?.audioTracks ?? []; }

  show() {
    const tracks = this.tracks;
    this.choice.hidden = tracks.length < 2;
    if ([...this.choice.options].map(option => option.value).join("\n") !== tracks.map(({name}) => name).join("\n"))
      this.choice.replaceChildren(...tracks.map(({name}) => element("option", {value: name}, name)));
    this.play();
    this.choice.value = tracks[this.player.hls?.audioTrack]?.name ?? "";
  }

  play() {
    const index = this.tracks.findIndex(({name}) => name === this.wanted);
    if (index >= 0 && index !== this.player.hls.audioTrack) this.player.hls.audioTrack = index;
  }

  close() {
    this.player.onTracks = () => {};
    this.choice.remove();
  }
}

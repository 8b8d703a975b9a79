// Pictures that were decoded before they are shown. The same element comes back for the same address and slot, so that what
// was fetched ahead is on the screen with the next frame.

import { h } from "./dom.js";

const HELD = 24;

export class Pictures {
  constructor() {
    this.held = new Map(); // slot and address → {element, ready}
  }

  // The slot tells apart two places that show the same address at once.
  get(slot, address) {
    const key = `${slot} ${address}`;
    let picture = this.held.get(key);
    if (picture && picture.failed) picture = undefined;
    if (!picture) {
      const element = h("img", { alt: "", draggable: "false", decoding: "sync" });
      element.src = address;
      picture = { element, failed: false, isReady: false };
      picture.ready = element
        .decode()
        .then(() => {
          picture.isReady = true;
          return picture;
        })
        .catch(() => {
          picture.failed = true;
          return picture;
        });
    } else {
      this.held.delete(key); // and put back as the last one used
    }
    this.held.set(key, picture);
    for (const [oldest, one] of this.held) {
      if (this.held.size <= HELD) break;
      if (!one.element.isConnected) this.held.delete(oldest);
      else break;
    }
    return picture;
  }
}

/** Small drawings: a hundred dots, a value on its scale, and the map over an image. */

import { h } from "./dom";
import { percent, say } from "./texts";

const SVG = "http://www.w3.org/2000/svg";

function svg(tag: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** A hundred dots, of which the first `on` are filled; the text beside it says the same. */
export function dots(on: number, kind: string, columns = 20): SVGElement {
  const rows = 100 / columns;
  const drawing = svg("svg", {
    class: `dots ${kind}`, viewBox: `0 0 ${columns * 10} ${rows * 10}`, "aria-hidden": "true",
  });
  for (let dot = 0; dot < 100; dot++) {
    const [x, y] = [(dot % columns) * 10 + 5, Math.floor(dot / columns) * 10 + 5];
    drawing.append(svg("circle", { cx: x, cy: y, r: 3.6, class: dot < on ? "on" : "off" }));
  }
  return drawing;
}

/** Where a probability lies on a logarithmic scale from 0.1 % to 100 %, 0 to 1. */
const place = (p: number): number => Math.min(1, Math.max(0, (Math.log10(Math.max(p, 1e-9)) + 3) / 3));

/** A value and the threshold on a logarithmic scale. */
export function scale(value: number, threshold: number): HTMLElement {
  const drawing = svg("svg", { viewBox: "0 0 300 12", preserveAspectRatio: "none", class: "scale-track" });
  const cut = place(threshold) * 300;
  drawing.append(
    svg("rect", { x: 0, y: 3, width: Math.max(0, cut - 1), height: 6, rx: 3, class: "under" }),
    svg("rect", { x: cut + 1, y: 3, width: Math.max(0, 299 - cut), height: 6, rx: 3, class: "over" }),
  );
  const marker = h("span", { class: "scale-marker" });
  marker.style.insetInlineStart = `${place(value) * 100}%`;
  const limit = h("span", { class: "scale-limit" });
  limit.style.insetInlineStart = `${place(threshold) * 100}%`;
  const ticks = [0.001, 0.01, 0.1, 1].map((tick) => {
    const label = h("span", { class: "tick" }, percent(tick, tick < 0.01 ? 1 : 0));
    label.style.insetInlineStart = `${place(tick) * 100}%`;
    return label;
  });
  const text = `${say("scale_label")}: ${percent(value)}; ${say("scale_threshold")} ${percent(threshold)}`;
  return h(
    "div", { class: "scale", role: "img", "aria-label": text },
    h("div", { class: "scale-body" }, drawing, limit, marker), h("div", { class: "ticks" }, ...ticks),
  );
}

/** Draw effects [side * side] over an image: warm where covering lowers the value, cool where it raises it. */
export function drawMap(canvas: HTMLCanvasElement, effects: number[]): void {
  const side = Math.sqrt(effects.length);
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d")!;
  const pixels = context.createImageData(side, side);
  const largest = Math.max(0.5, ...effects.map(Math.abs)); // weak effects look weak
  effects.forEach((effect, cell) => {
    const colour = effect >= 0 ? [255, 106, 0] : [0, 132, 255];
    pixels.data.set([...colour, Math.round((Math.abs(effect) / largest) ** 1.5 * 180)], cell * 4);
  });
  context.putImageData(pixels, 0, 0);
}

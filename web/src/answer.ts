/** What the model says about the image that is selected. */

import { dots, drawMap, scale } from "./chart";
import { at, h } from "./dom";
import { interval, similar } from "./evidence";
import type { Header } from "./header";
import { assess, type Finding, type Measures } from "./quality";
import { refusal } from "./refusal";
import { hasValue, isRefused, selected, state, type Item } from "./state";
import { count, language, percent, say, sayIfKnown, type Key } from "./texts";

/** The name of a class in the page's language, or the class itself. */
export const className = (name: string): string => sayIfKnown(`class_${name}`) ?? name;

/** The names of sources, as a list. */
export const sources = (header: Header): string =>
  header.data.sources.map((name) => nameOf(name)).join(" + ");

/** A source's name for people, from the table of the package; English where the language has none. */
function nameOf(source: string): string {
  const known = state.parts!.index.sources[source];
  return known?.[language()] ?? known?.["en"] ?? source;
}

export const findings = (measures: Measures): Finding[] =>
  assess(measures, state.parts!.header.input.size, state.parts!.evidence?.quality ?? null);

export interface AnswerActions {
  map(item: Item): void;
  /** Show or hide the answer to a refused image. */
  anyway(item: Item): void;
  remove(item: Item): void;
}

/** Draw the section anew. */
export function drawAnswer(actions: AnswerActions): void {
  const section = at("answer");
  const item = selected();
  section.hidden = !item;
  if (!item || !state.parts) return section.replaceChildren();
  section.replaceChildren(picture(item, actions), item.answer ? verdict(item, actions) : waiting(item));
}

function picture(item: Item, actions: AnswerActions): HTMLElement {
  const frame = frameOf(item);
  const shown = state.showMap && item.map && hasValue(item);
  if (item.map && shown) {
    const canvas = h("canvas", { class: "map", "aria-hidden": true });
    drawMap(canvas, item.map.effects);
    frame.append(canvas);
  }
  const caption = h("figcaption", {}, h("span", { class: "name" }, item.name));
  const box = h("div", { class: "sheet picture" }, h("figure", {}, frame, caption));
  const remove = h(
    "button", { type: "button", id: "remove-shown", class: "plain", onclick: () => actions.remove(item) }, say("list_remove"),
  );
  const { answer } = item;
  if (!answer) {
    box.append(h("div", { class: "buttons" }, remove));
    return box;
  }
  const { width, height } = answer.measures;
  caption.append(h("span", { class: "quiet" }, say("pixels", { width, height })));
  if (!isRefused(item)) box.append(...quality(answer.measures));
  box.append(h("div", { class: "buttons" }, hasValue(item) && mapButton(item, Boolean(shown), actions), remove));
  if (state.mapping !== null) {
    box.append(h("progress", { value: state.mapping, max: 1, "aria-label": say("map_working") }));
  }
  if (shown) box.append(legend(), h("p", { class: "quiet" }, mapText(item)));
  return box;
}

/** What is measured of an image that the gate lets pass. */
function quality(measures: Measures): HTMLElement[] {
  const found = findings(measures);
  const chips = found.map(({ key, good }) =>
    h("span", { class: `chip ${good ? "good" : "bad"}` }, say(`quality_${key}` as Key)));
  const warns = found.some(({ good }) => !good);
  return [h("p", { class: "chips" }, ...chips), ...(warns ? [h("p", { class: "quiet" }, say("quality_warning"))] : [])];
}

/** The image as large as fits, in its own proportions, with room for a map over it. */
function frameOf(item: Item): HTMLElement {
  const image = h("img", { alt: item.name, onerror: () => (frame.hidden = true) });
  const frame = h("div", { class: "frame" }, image);
  if (item.answer) {
    const ratio = item.answer.measures.width / item.answer.measures.height;
    frame.style.aspectRatio = String(ratio);
    frame.style.maxWidth = `calc(62vh * ${ratio})`;
  }
  image.src = item.address;
  return frame;
}

function mapButton(item: Item, shown: boolean, actions: AnswerActions): HTMLElement {
  const working = state.mapping !== null;
  return h(
    "button",
    { type: "button", id: "map-button", "aria-pressed": String(shown), "aria-disabled": String(working),
      onclick: () => !working && actions.map(item) },
    say(shown ? "map_hide" : "map_show"),
  );
}

function legend(): HTMLElement {
  return h(
    "p", { class: "legend quiet" }, h("span", {}, say("map_legend")),
    h("span", { class: "swatch" }, say("map_for")), h("span", { class: "swatch cool" }, say("map_against")),
  );
}

function mapText(item: Item): string {
  const { effects, covered } = item.map!;
  const side = Math.sqrt(effects.length);
  const strongest = effects.reduce((best, effect, cell) => (Math.abs(effect) > Math.abs(effects[best]!) ? cell : best), 0);
  const third = (index: number) => Math.min(2, Math.floor((index / side) * 3));
  const place = `place_${third(Math.floor(strongest / side))}_${third(strongest % side)}` as Key;
  return say("map_text", { place: say(place), covered: percent(covered[strongest]!), whole: percent(melanoma(item)) });
}

/** The probability of melanoma of an image that has an answer. */
export const melanoma = (item: Item): number => item.answer!.probabilities[state.parts!.header.melanoma_index]!;

function waiting(item: Item): HTMLElement {
  const failed = item.status !== "waiting";
  return h(
    "div", { class: "sheet verdict" },
    h("h2", { id: "answer-title" }, say(failed ? "answer_none" : "answer_waiting")), failed && h("p", {}, item.message),
  );
}

function verdict(item: Item, actions: AnswerActions): HTMLElement {
  if (!isRefused(item)) {
    return h(
      "div", { class: "sheet verdict" },
      h("h2", { id: "answer-title" }, say("answer_title")), ...value(item), meaning(melanoma(item)), ...classes(item),
    );
  }
  const anyway = () => h(
    "div", { class: "anyway" },
    h("h3", {}, say("refused_value")), ...value(item), h("p", { class: "quiet" }, say("refused_meaning")), ...classes(item),
  );
  return h("div", { class: "sheet verdict" }, refusal(item, () => actions.anyway(item)), hasValue(item) && anyway());
}

/** The probability of melanoma and what the threshold makes of it. */
function value(item: Item): HTMLElement[] {
  const p = melanoma(item);
  const above = p >= state.threshold;
  const synthetic = state.parts!.header.data.synthetic;
  return [
    h("p", { class: "value", id: "value" }, percent(p)),
    h("p", { class: `pill ${above ? "above" : "below"}`, id: "decision" },
      h("span", { "aria-hidden": true }, above ? "▲ " : "▽ "),
      say(above ? "above" : "below", { threshold: percent(state.threshold) })),
    scale(p, state.threshold),
    ...(synthetic ? [h("p", { class: "problem" }, say("synthetic"))] : []),
  ];
}

const classes = (item: Item): HTMLElement[] =>
  [h("h3", {}, say("classes")), bars(item.answer!.probabilities, state.parts!.header)];

function meaning(p: number): HTMLElement {
  const { evidence, header } = state.parts!;
  const bin = similar(p, evidence);
  if (!bin || !evidence) {
    return h("div", { class: "meaning" }, h("h3", {}, say("meaning")), h("p", {}, say("meaning_unknown")));
  }
  const share = (100 * bin.positives) / bin.n;
  const [from, to] = interval(bin.positives, bin.n);
  const bounds = { low: percent(bin.low, digits(bin.low)), high: percent(bin.high, digits(bin.high)) };
  const k = Math.round(share);
  const basis = say("meaning_basis", {
    positives: bin.positives, n: bin.n, from: percent(from), to: percent(to), sources: sources(header),
    share: percent(evidence.positives / evidence.n),
  });
  return h(
    "div", { class: "meaning" }, h("h3", {}, say("meaning")),
    h("div", { class: "frequency" }, dots(k, "warm", 20),
      h("p", {}, k < 1 ? say("meaning_similar_few", bounds) : say("meaning_similar", { ...bounds, k: count(k) }))),
    h("p", { class: "quiet" }, basis),
  );
}

const digits = (share: number): number => (Number.isInteger(Math.round(share * 1e4) / 100) ? 0 : 1);

function bars(probabilities: number[], header: Header): HTMLElement {
  const order = header.classes.map((_, index) => index).sort((a, b) => probabilities[b]! - probabilities[a]!);
  return h("ul", { class: "bars" }, ...order.map((index) => {
    const bar = h("span", { class: "bar" });
    bar.style.inlineSize = `${Math.max(0.4, probabilities[index]! * 100)}%`;
    return h(
      "li", { class: index === header.melanoma_index ? "melanoma" : null },
      h("span", { class: "bar-name" }, className(header.classes[index]!)),
      h("span", { class: "bar-value" }, percent(probabilities[index]!)), h("span", { class: "rail" }, bar),
    );
  }));
}

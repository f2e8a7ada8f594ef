/** The threshold: its slider, and what it would have meant on images out of fold. */

import { sources } from "./answer";
import { dots } from "./chart";
import { at, h } from "./dom";
import { interval, ratesAt, stops, type Rates } from "./evidence";
import { state } from "./state";
import { count, percent, say, sayIfKnown } from "./texts";

/** Draw the section; `changed` is called when another threshold is chosen. */
export function drawThreshold(changed: () => void): void {
  const { header, evidence, refused } = state.parts!;
  const values = stops(header, evidence);
  const slider = h("input", {
    type: "range", id: "slider", min: 0, max: values.length - 1, step: 1, "aria-label": say("threshold_label"),
  });
  const shown = h("output", { for: "slider", class: "threshold-value" });
  const rates = h("div", { class: "rates" });
  const set = (value: number) => {
    state.threshold = value;
    slider.value = String(values.indexOf(value));
    slider.style.setProperty("--part", `${(100 * values.indexOf(value)) / Math.max(1, values.length - 1)}%`);
    shown.textContent = percent(value);
    fill(rates, slider, value);
    for (const button of presets.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Number(button.value) === value));
    }
  };
  const choose = (value: number) => {
    set(value);
    changed();
  };
  slider.addEventListener("input", () => choose(values[Number(slider.value)]!));
  const presets = presetButtons(choose);
  const { n, positives } = evidence ?? header.thresholds[header.default_threshold]!;
  at("threshold").replaceChildren(
    h("h2", { id: "threshold-title" }, say("threshold_title")),
    h("p", { class: "quiet" }, say("threshold_lead")),
    h("div", { class: "slide" }, slider, shown), presets, rates,
    refused ? h("p", { class: "problem" }, say("threshold_refused", { why: refused })) : "",
    evidence ? "" : h("p", { class: "quiet" }, say("threshold_only")),
    h("p", { class: "quiet" }, say("threshold_basis", { n, positives, sources: sources(header) })),
  );
  at("threshold").hidden = false;
  set(state.threshold);
}

function presetButtons(choose: (value: number) => void): HTMLElement {
  const { header } = state.parts!;
  const points = Object.entries(header.thresholds).sort(([, a], [, b]) => a.value - b.value);
  return h("div", { class: "presets", role: "group", "aria-label": say("threshold_presets") }, ...points.map(
    ([name, point]) => h(
      "button", { type: "button", id: `preset-${name}`, value: point.value, onclick: () => choose(point.value) },
      sayIfKnown(`preset_${name}`) ?? name,
      name === header.default_threshold && h("span", { class: "quiet" }, ` · ${say("preset_default")}`),
    ),
  ));
}

function fill(box: HTMLElement, slider: HTMLInputElement, value: number): void {
  const { header, evidence } = state.parts!;
  const rates = ratesAt(value, header, evidence);
  box.replaceChildren();
  slider.setAttribute("aria-valuetext", percent(value));
  if (!rates) return;
  slider.setAttribute("aria-valuetext", say("threshold_value", {
    threshold: percent(value), sensitivity: percent(rates.sensitivity), specificity: percent(rates.specificity),
  }));
  box.append(
    rate("sensitivity", rates.found, rates.positives, "warm"),
    rate("specificity", rates.negatives - rates.alarms, rates.negatives, "calm"),
    h("p", {}, predictive(rates)),
  );
}

function rate(name: "sensitivity" | "specificity", part: number, whole: number, kind: string): HTMLElement {
  const [from, to] = interval(part, whole);
  const yes = Math.round((100 * part) / whole);
  return h(
    "div", { class: "rate" },
    h("h3", {}, say(name)), h("p", { class: "rate-value", id: name }, percent(part / whole, 0)),
    h("p", { class: "quiet" }, say("interval", { from: percent(from, 0), to: percent(to, 0) })),
    dots(yes, kind), h("p", {}, say(`${name}_text`, { yes, no: 100 - yes })),
  );
}

function predictive({ found, alarms, positives, negatives }: Rates): string {
  const of100 = (part: number, whole: number) => {
    const share = whole > 0 ? (100 * part) / whole : 0;
    return share > 0 && share < 0.5 ? say("predictive_few") : count(Math.round(share));
  };
  const [below, missed] = [positives - found + negatives - alarms, positives - found];
  return say("predictive", { above: of100(found, found + alarms), below: of100(missed, below) });
}

/** What the model is: its facts, its limits, its card. */

import { marked } from "marked";

import { sources } from "./answer";
import { at, h } from "./dom";
import { state } from "./state";
import { say, type Key } from "./texts";

export function drawAbout(): void {
  const { header, index, card } = state.parts!;
  const { model, data, licence } = header;
  const images = Object.values(data.images).reduce((sum, n) => sum + n, 0);
  const facts: [Key, string][] = [
    ["about_name", `${header.name} ${header.version}`],
    ["about_parameters", say("about_parameters_value", { parameters: model.parameters, macs: Math.round(model.macs / 1e6) })],
    ["about_input", say("about_input_value", { size: header.input.size })],
    ["about_data", say("about_data_value", { images, sources: sources(header) })],
    ["about_licence", say("about_licence_value", { code: licence.code, weights: licence.weights })],
    ["about_hash", header.files[index.graph]!.slice(0, 16)],
  ];
  at("about").replaceChildren(
    h("h2", { id: "about-title" }, say("about_title")),
    h("p", {}, say(index.gate ? "about_limits_gate" : "about_limits")),
    h("dl", { class: "facts" }, ...facts.flatMap(([key, value]) => [h("dt", {}, say(key)), h("dd", {}, value)])),
    h("details", { id: "card" }, h("summary", {}, say("about_card")), rendered(card)),
  );
  at("about").hidden = false;
  at("versions").textContent = say("versions", {
    version: header.version, model: header.name, page: index.version.slice(0, 8),
  });
}

/** The card as elements. Its scripts and handlers, if it had any, would not run: the page's policy forbids them. */
function rendered(markdown: string): HTMLElement {
  const parsed = new DOMParser().parseFromString(marked.parse(markdown, { async: false }), "text/html");
  const box = h("div", { class: "card", lang: "en" }, ...parsed.body.childNodes);
  for (const link of box.querySelectorAll("a")) link.rel = "noreferrer";
  for (const wide of box.querySelectorAll("table, pre")) { // these scroll, by keyboard too
    const scroll = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": say("about_card") });
    wide.replaceWith(scroll);
    scroll.append(wide);
  }
  box.querySelector("h1")?.remove();
  for (const heading of box.querySelectorAll("h2")) {
    heading.replaceWith(h("h3", {}, heading.textContent ?? ""));
  }
  return box;
}

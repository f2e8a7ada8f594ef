/** The table of several images. */

import { className, findings, melanoma } from "./answer";
import { at, h } from "./dom";
import { why } from "./refusal";
import { hasValue, isRefused, selected, state, type Item } from "./state";
import { percent, say, type Key } from "./texts";

export interface ListActions {
  select(item: Item): void;
  remove(item: Item): void;
  clear(): void;
  download(): void;
}

/** Draw the section anew. */
export function drawList(actions: ListActions): void {
  const section = at("list");
  section.hidden = state.items.length < 2;
  const columns: Key[] = ["list_image", "list_value", "list_decision", "list_class", "list_quality"];
  const head = columns.map((key) => h("th", { scope: "col", class: key.slice(5) === "value" ? "number" : key.slice(5) }, h("span", {}, say(key))));
  const table = h(
    "table", { "aria-labelledby": "list-title" },
    h("thead", {}, h("tr", {}, ...head, h("td", {}))),
    h("tbody", {}, ...state.items.map((item) => row(item, actions))),
  );
  section.replaceChildren(
    h("div", { class: "head" }, h("h2", { id: "list-title" }, say("list_title")),
      h("div", { class: "buttons" },
        h("button", { type: "button", id: "csv", onclick: actions.download }, say("list_csv")),
        h("button", { type: "button", id: "clear", class: "plain", onclick: actions.clear }, say("list_clear")))),
    h("div", { class: "scroll" }, table),
  );
}

function row(item: Item, actions: ListActions): HTMLElement {
  const current = item === selected();
  const pick = h(
    "button", { type: "button", class: "pick", id: `pick-${item.id}`, "aria-pressed": String(current),
      onclick: () => actions.select(item) },
    thumbnail(item), h("span", {}, item.name),
  );
  const remove = h(
    "button", { type: "button", class: "plain remove", id: `remove-${item.id}`, onclick: () => actions.remove(item),
      "aria-label": say("list_remove_one", { name: item.name }), title: say("list_remove") }, "×",
  );
  return h(
    "tr", { class: current ? "current" : null },
    h("th", { scope: "row", class: "image" }, pick), ...cells(item), h("td", { class: "end" }, remove),
  );
}

/** The image in small; nothing where the browser cannot show it. */
function thumbnail(item: Item): HTMLElement {
  const image = h("img", { alt: "", loading: "lazy", onerror: () => image.classList.add("broken") });
  image.src = item.address;
  return image;
}

function cells(item: Item): HTMLElement[] {
  const { answer } = item;
  if (!answer) {
    return wide("quiet", item.status === "waiting" ? say("list_waiting") : item.message);
  }
  const above = melanoma(item) >= state.threshold;
  const decision = say(above ? "above_short" : "below_short");
  if (isRefused(item)) {
    const anyway = say("refused_anyway", { value: percent(melanoma(item)), decision });
    return wide(
      "refused", h("span", { class: "pill small refused" }, say("refused_short")), ` ${why(item)}`,
      hasValue(item) && h("p", { class: "quiet" }, anyway),
    );
  }
  const { classes } = state.parts!.header;
  const top = answer.probabilities.indexOf(Math.max(...answer.probabilities));
  const quality = findings(answer.measures).map(({ key }) => say(`quality_${key}` as Key)).join(", ");
  return [
    h("td", { class: "number" }, percent(melanoma(item))),
    h("td", { class: "decision" }, h("span", { class: `pill small ${above ? "above" : "below"}` },
      h("span", { "aria-hidden": true }, above ? "▲ " : "▽ "),
      h("span", { class: "word" }, decision))),
    h("td", { class: "class" }, className(classes[top]!)),
    h("td", { class: "quality" }, quality),
  ];
}

/** A row's cells where one says all: over the columns that narrow screens show too. */
const wide = (kind: string, ...said: (Node | string | false)[]): HTMLElement[] =>
  [h("td", { colspan: 2, class: kind }, ...said), h("td", { class: "class" }), h("td", { class: "quality" })];

/** The page's words: one file a language, numbers written as the language writes them. */

import de from "../texts/de.json";
import en from "../texts/en.json";

export type Key = keyof typeof en;
type Texts = Record<Key, string>;

/** Every language, by its code; a new one is a file in texts/ and a line here. */
const LANGUAGES: Record<string, Texts> = { en, de };
const KEPT = "dermdistill.language";

let code = "en";

export const languages = (): [string, string][] => Object.entries(LANGUAGES).map(([key, own]) => [key, own.language]);

export const language = (): string => code;

/** Take the language that was chosen before, or the first of the browser's that there is. */
export function chooseLanguage(wanted?: string): void {
  const before = kept();
  const known = [wanted, before, ...navigator.languages.map((tag) => tag.slice(0, 2))];
  code = known.find((tag) => tag && tag in LANGUAGES) ?? "en";
  document.documentElement.lang = code;
  if (wanted) {
    try {
      localStorage.setItem(KEPT, code);
    } catch {
      // Where nothing may be kept, the choice holds for this visit.
    }
  }
}

function kept(): string | undefined {
  try {
    return localStorage.getItem(KEPT) ?? undefined;
  } catch {
    return undefined;
  }
}

/** A text with its {gaps} filled. */
export function say(key: Key, gaps: Record<string, string | number> = {}): string {
  const text = LANGUAGES[code]![key];
  return text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = gaps[name];
    return typeof value === "number" ? count(value) : (value ?? "");
  });
}

/** The text of a key that is made of several parts, if there is one. */
export function sayIfKnown(key: string, gaps: Record<string, string | number> = {}): string | null {
  return key in LANGUAGES[code]! ? say(key as Key, gaps) : null;
}

export const count = (value: number): string => value.toLocaleString(code);

/** A probability or share in percent, with as many digits as mean something. */
export function percent(value: number, digits?: number): string {
  const shown = (share: number, places: number) =>
    share.toLocaleString(code, { style: "percent", minimumFractionDigits: places, maximumFractionDigits: places });
  if (digits !== undefined) return shown(value, digits);
  if (value < 0.001) return `< ${shown(0.001, 1)}`;
  if (value > 0.999) return `> ${shown(0.999, 1)}`;
  return shown(value, value < 0.0995 ? 1 : 0);
}

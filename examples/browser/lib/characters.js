/** Classes of characters as Python's tokenizers have them, and what their steps do with them. */

import {
  DECOMPOSED,
  IDEOGRAPHS,
  MARKS,
  PUNCTUATION,
  REMOVED,
  REORDERED,
  SPACES,
} from "./tables.js";

const DECOMPOSES = new RegExp(`^[${classOf(DECOMPOSED)}]$`, "u");
const REORDERS = new RegExp(`^[${classOf(REORDERED)}]$`, "u");
const IDEOGRAPH = new RegExp(`[${classOf(IDEOGRAPHS)}]`, "gu");
const MARK = new RegExp(`[${classOf(MARKS)}]`, "gu");
const REMOVE = new RegExp(`[${classOf(REMOVED)}]`, "gu");
const SPACE = new RegExp(`[${classOf(SPACES)}]`, "gu");
const WORD = new RegExp(`[^${classOf(SPACES)}]+`, "gu");
const PART = new RegExp(
  `[${classOf(PUNCTUATION)}]|[^${classOf(PUNCTUATION)}${classOf(SPACES)}]+`,
  "gu",
);
const ASCII = /^[\0-\x7f]*$/;
const LAST_MARK = "\u0345"; // other marks are put before it
/** @type {Map<string, boolean>} whether a character is newer than the package */
const newer = new Map();

/**
 * Clean a text as the normalizer of BERT does.
 *
 * @param {string} text
 * @param {{clean_text?: boolean, handle_chinese_chars?: boolean, strip_accents?: boolean | null,
 *   lowercase?: boolean}} settings settings of the step "BertNormalizer"
 * @returns {string}
 */
export function bertNormalized(text, settings) {
  const { clean_text = true, handle_chinese_chars = true, lowercase = true } = settings;
  let normal = clean_text ? text.replace(REMOVE, "").replace(SPACE, " ") : text;
  if (handle_chinese_chars) normal = normal.replace(IDEOGRAPH, " $& ");
  if (settings.strip_accents ?? lowercase) normal = withoutAccents(normal);
  return lowercase ? lowercased(normal) : normal;
}

/**
 * Lowercase each character alone; `toLowerCase` of a whole text knows the Greek sigma at the end
 * of a word, which Python's tokenizers do not.
 *
 * @param {string} text
 * @returns {string}
 */
export function lowercased(text) {
  if (!text.includes("Σ")) return text.toLowerCase();
  return Array.from(text, (character) => character.toLowerCase()).join("");
}

/**
 * Return the words between white space.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function words(text) {
  return text.match(WORD) ?? [];
}

/**
 * Return the words between white space, each punctuation mark as a word of its own.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function wordsAndMarks(text) {
  return text.match(PART) ?? [];
}

/**
 * Return a normalization form of a text, in which characters stay that browsers know and the
 * package does not.
 *
 * @param {string} text
 * @param {string} form NFC, NFD, NFKC or NFKD
 * @returns {string}
 */
export function normalized(text, form) {
  if (ASCII.test(text)) return text;
  const parts = [""];
  for (const character of text) {
    if (isNewer(character)) parts.push(character, "");
    else parts[parts.length - 1] += character;
  }
  // Every second part is a newer character.
  return parts.map((part, index) => (index % 2 ? part : part.normalize(form))).join("");
}

/** @param {string} text */
function withoutAccents(text) {
  return ASCII.test(text) ? text : normalized(text, "NFD").replace(MARK, "");
}

/** @param {string} character */
function isNewer(character) {
  if (character < "\x80") return false;
  const known = newer.get(character);
  if (known !== undefined) return known;
  const decomposed = character.normalize("NFD");
  const reorders = (LAST_MARK + character).normalize("NFD") !== LAST_MARK + decomposed;
  const isOther =
    (decomposed !== character && !DECOMPOSES.test(character)) ||
    (reorders && !REORDERS.test(character));
  newer.set(character, isOther);
  return isOther;
}

/**
 * Return ranges such as "9-d 20" as the inside of a regular expression's class.
 *
 * @param {string} ranges
 */
function classOf(ranges) {
  const escaped = (/** @type {string} */ code) => `\\u{${code}}`;
  return ranges
    .split(" ")
    .map((range) => range.split("-").map(escaped).join("-"))
    .join("");
}

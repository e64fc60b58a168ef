/** The steps of a tokenizer.json before its model: normalizers, and splitting into words. */

import {
  ByteLevelPreTokenizer,
  ReplaceNormalizer,
  SplitPreTokenizer,
} from "@huggingface/tokenizers";

import { bertNormalized, lowercased, normalized, words, wordsAndMarks } from "./characters.js";
import { BundleError } from "./errors.js";

/** @typedef {{type: string, [key: string]: any}} Step a step in a tokenizer.json */

/** The steps whose tokens were compared with those of Python's tokenizers. */
const COMPARED = {
  normalizer: ["BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Replace"],
  pre_tokenizer: ["BertPreTokenizer", "ByteLevel", "Split", "WhitespaceSplit"],
  model: ["BPE", "WordPiece"],
  post_processor: ["BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing"],
};
/** Settings of BPE that the package does not read, or reads otherwise than Python's. */
const OF_BPE = ["dropout", "byte_fallback", "fuse_unk", "continuing_subword_prefix"];
const PARTS = ["normalizers", "pretokenizers", "processors"];
const IGNORE_CASE = "(?i)";
// The package's own pattern has \s, which in JavaScript is another set than Unicode's White_Space.
const BYTE_LEVEL = new RegExp(
  [
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+",
    "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  ].join("|"),
  "gu",
);

/**
 * Refuse a tokenizer with a step that was not compared with Python's.
 *
 * @param {Record<string, any>} content the content of a tokenizer.json
 * @throws {BundleError}
 */
export function checkTokenizer(content) {
  for (const [name, types] of Object.entries(COMPARED)) {
    const step = stepsOf(content[name]).find((each) => !types.includes(each.type));
    if (step) throw notCompared(step.type);
  }
  const splits = stepsOf(content.pre_tokenizer).filter((step) => step.type === "Split");
  const other = splits.find((step) => step.invert || !/^(isolated|removed)$/i.test(step.behavior));
  if (other) throw notCompared(`Split (${other.invert ? "inverted" : other.behavior})`);
  const { model } = content;
  const setting = model.type === "BPE" && OF_BPE.find((name) => model[name]);
  if (setting) throw notCompared(`BPE with ${setting}`);
  const added = content.added_tokens ?? [];
  if (added.some((/** @type {any} */ token) => token.single_word)) {
    throw notCompared("an added token with single_word");
  }
}

/**
 * Return the steps of a part of a tokenizer, those of a sequence one by one.
 *
 * @param {Step | null | undefined} step
 * @returns {Step[]}
 */
export function stepsOf(step) {
  if (!step) return [];
  if (step.type !== "Sequence") return [step];
  return PARTS.flatMap((name) => step[name] ?? []).flatMap(stepsOf);
}

/**
 * Return the function that normalizes a text.
 *
 * @param {Step} normalizer
 * @returns {(text: string) => string}
 */
export function normalizerOf(normalizer) {
  const steps = stepsOf(normalizer).map(normalizing);
  return (text) => steps.reduce((normal, step) => step(normal), text);
}

/**
 * Return the function that splits a normalized text into words.
 *
 * @param {Step} preTokenizer
 * @returns {(text: string) => string[]}
 */
export function splitterOf(preTokenizer) {
  const steps = stepsOf(preTokenizer).map(splitting);
  return (text) => steps.reduce((parts, step) => step(parts), [text]);
}

/**
 * @param {Step} step
 * @returns {(text: string) => string}
 */
function normalizing(step) {
  switch (step.type) {
    case "BertNormalizer":
      return (text) => bertNormalized(text, /** @type {any} */ (step));
    case "Lowercase":
      return lowercased;
    case "Replace": {
      const replace = new ReplaceNormalizer(/** @type {any} */ (step));
      return (text) => replace.normalize(text);
    }
    default:
      return (text) => normalized(text, step.type);
  }
}

/**
 * @param {Step} step
 * @returns {(texts: string[]) => string[]}
 */
function splitting(step) {
  switch (step.type) {
    case "BertPreTokenizer":
      return (texts) => texts.flatMap(wordsAndMarks);
    case "WhitespaceSplit":
      return (texts) => texts.flatMap(words);
    case "ByteLevel": {
      const bytes = new ByteLevelPreTokenizer(/** @type {any} */ (step));
      bytes.pattern = BYTE_LEVEL;
      return (texts) => bytes.pre_tokenize(texts);
    }
    default: {
      const split = splitAt(step);
      if (!/^removed$/i.test(step.behavior)) return (texts) => split.pre_tokenize(texts);
      const { source, flags } = /** @type {RegExp} */ (split.pattern);
      const pattern = new RegExp(source, flags.includes("i") ? "giu" : "gu");
      return (texts) => texts.flatMap((text) => between(text, pattern));
    }
  }
}

/**
 * Return what lies between the matches of a pattern; String.split would also return its groups.
 *
 * @param {string} text
 * @param {RegExp} pattern with the flag g
 * @returns {string[]}
 */
function between(text, pattern) {
  const parts = [];
  let start = 0;
  for (const match of text.matchAll(pattern)) {
    parts.push(text.slice(start, match.index));
    start = match.index + match[0].length;
  }
  parts.push(text.slice(start));
  return parts.filter((part) => part !== "");
}

/**
 * Return the package's step that splits at a pattern; it does not know the flag (?i) at the start.
 *
 * @param {Step} step
 */
function splitAt(step) {
  const regex = step.pattern.Regex;
  if (!regex?.startsWith(IGNORE_CASE)) return new SplitPreTokenizer(/** @type {any} */ (step));
  const pattern = { Regex: regex.slice(IGNORE_CASE.length) };
  const split = new SplitPreTokenizer(/** @type {any} */ ({ ...step, pattern }));
  split.pattern = new RegExp(/** @type {RegExp} */ (split.pattern).source, "giu");
  return split;
}

/** @param {string} name */
function notCompared(name) {
  return new BundleError(
    `the tokenizer has the step ${name}, whose tokens in JavaScript were not compared with ` +
      "Python's: distill a student with another tokenizer (bmc distill --student tiny), or ask a " +
      "service (bmc serve)",
  );
}

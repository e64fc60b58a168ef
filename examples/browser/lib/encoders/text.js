/** Texts, or pairs of texts, become token ids. */

import { BundleError, shown } from "../errors.js";
import { RowTokenizer } from "../tokenizer.js";

const SPACE = "[\\p{White_Space}\\x1c-\\x1f]"; // what Python takes for white space
const HTML_BREAK = new RegExp(`<br${SPACE}*/?>`, "giu");
const ALL_SPACE = new RegExp(`^${SPACE}*$`, "u");
const LONE_SURROGATE = /\p{Surrogate}/u;
const MAX_CHARACTERS = 200_000; // a page answers within a second

export class TextEncoder {
  /**
   * @param {Record<string, any>} settings `preprocessing` of the manifest
   * @param {Record<string, any>} tokenizer content of tokenizer.json
   */
  constructor(settings, tokenizer) {
    this.kind = "text";
    this.columns = settings.columns;
    this.maxLength = settings.max_length;
    this.padId = BigInt(settings.pad_id);
    this.side = settings.truncation_side ?? "right";
    this.htmlBreaks = settings.html_breaks ?? true;
    this.prompt = settings.prompt ?? "";
    this.pairTypes = settings.pair_types ?? true;
    this.hasTypes = settings.columns === 2 && (settings.type_input ?? true);
    this.tokenizer = new RowTokenizer(tokenizer);
  }

  /**
   * Encode rows, and fill the shorter ones.
   *
   * @param {(string | string[])[]} rows each a text, or a list of one text or a pair
   * @returns {Record<string, import("./index.js").Tensor>}
   * @throws {BundleError} a row does not fit the model
   */
  batch(rows) {
    const encoded = rows.map((row) => this.tokens(typeof row === "string" ? [row] : row));
    const longest = Math.max(...encoded.map((row) => row.ids.length));
    const dims = [rows.length, longest];
    const ids = new BigInt64Array(rows.length * longest).fill(this.padId);
    const mask = new BigInt64Array(ids.length);
    const types = new BigInt64Array(ids.length);
    encoded.forEach((row, number) => {
      row.ids.forEach((id, index) => {
        const at = number * longest + index;
        ids[at] = BigInt(id);
        mask[at] = 1n;
        types[at] = BigInt(this.pairTypes ? row.types[index] : 0);
      });
    });
    /** @type {Record<string, import("./index.js").Tensor>} */
    const tensors = {
      input_ids: { type: "int64", dims, data: ids },
      attention_mask: { type: "int64", dims, data: mask },
    };
    if (this.hasTypes) tensors.token_type_ids = { type: "int64", dims, data: types };
    return tensors;
  }

  /**
   * Return the tokens of a row.
   *
   * @param {string[]} texts
   * @returns {import("../tokenizer.js").Tokens}
   * @throws {BundleError}
   */
  tokens(texts) {
    if (texts.length !== this.columns || texts.some((text) => typeof text !== "string")) {
      throw new BundleError(
        `the model takes ${this.columns} text(s) a row; this is ${shown(texts)}`,
      );
    }
    if (texts.every((text) => ALL_SPACE.test(text))) {
      throw new BundleError("the text is empty: write one");
    }
    for (const text of texts) checkText(text);
    const tokens = this.tokenizer.encode(
      texts.map((text) => this.cleaned(text)),
      this.maxLength,
      this.side,
    );
    if (!tokens.ids.length) throw new BundleError("the text has no token that the model knows");
    return tokens;
  }

  /** @param {string} text */
  cleaned(text) {
    return this.prompt + (this.htmlBreaks ? text.replace(HTML_BREAK, " ") : text);
  }
}

/** @param {string} text */
function checkText(text) {
  if (LONE_SURROGATE.test(text)) {
    throw new BundleError("the text holds half a character (a lone surrogate): decode it again");
  }
  if (text.length > MAX_CHARACTERS) {
    throw new BundleError(
      `the text has ${text.length} characters, and this page reads up to ${MAX_CHARACTERS}: ` +
        "cut it before",
    );
  }
}

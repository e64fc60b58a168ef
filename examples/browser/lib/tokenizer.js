/**
 * Token ids of texts by a tokenizer.json, the same as those of Python's tokenizers.
 *
 * The package @huggingface/tokenizers splits words into tokens; what it does before, with other
 * results than Python's, is in tokenizer_steps.js.
 */

import { Tokenizer } from "@huggingface/tokenizers";

import { checkTokenizer, normalizerOf, splitterOf, stepsOf } from "./tokenizer_steps.js";

/** @typedef {{ids: number[], types: number[]}} Tokens ids, and the text (0 or 1) of each token */

/** A tokenizer that cuts rows, texts or pairs of texts, to a number of tokens. */
export class RowTokenizer {
  /**
   * @param {Record<string, any>} content the content of a tokenizer.json
   * @throws {import("./errors.js").BundleError} a step was not compared with Python's
   */
  constructor(content) {
    checkTokenizer(content);
    const { normalizer = null, post_processor = null, added_tokens = [], model } = content;
    const parts = { normalizer, post_processor, added_tokens, model };
    const tokenizer = new Tokenizer({ ...parts, pre_tokenizer: null, decoder: null }, {});
    // The package calls its steps as functions, so that functions can take their places.
    if (normalizer) tokenizer.normalizer = /** @type {any} */ (normalizerOf(normalizer));
    const { pre_tokenizer } = content;
    if (pre_tokenizer) tokenizer.pre_tokenizer = /** @type {any} */ (splitterOf(pre_tokenizer));
    this.tokenizer = tokenizer;
    this.unknown = model.unk_token ?? "";
    const finishes = stepsOf(post_processor).map((step) => step.type);
    this.hasTypes = !finishes.includes("RobertaProcessing"); // Python's gives all tokens type 0
  }

  /**
   * Return the tokens of a row.
   *
   * @param {string[]} texts one text, or two
   * @param {number} maxLength largest number of tokens, special tokens included
   * @param {string} side the end at which a long text is cut: "right" or "left"
   * @returns {Tokens}
   */
  encode(texts, maxLength, side) {
    const parts = texts.map((text) => this.tokenizer.tokenize(text));
    const room = maxLength - this.finished(parts.map(() => [])).tokens.length;
    const counts = keptOf(
      parts.map((part) => part.length),
      room,
    );
    const cut = parts.map((part, index) =>
      side === "left" ? part.slice(part.length - counts[index]) : part.slice(0, counts[index]),
    );
    const { tokens, token_type_ids } = this.finished(cut);
    return {
      ids: tokens.map((token) => this.idOf(token)),
      types: this.hasTypes && token_type_ids ? token_type_ids : tokens.map(() => 0),
    };
  }

  /**
   * Add the special tokens to the tokens of a row's texts.
   *
   * @param {string[][]} parts
   * @returns {{tokens: string[], token_type_ids?: number[]}}
   */
  finished(parts) {
    const finish = /** @type {any} */ (this.tokenizer.post_processor);
    if (!finish) return { tokens: parts.flat() }; // of type 0, as Python's
    const { tokens, tokens_pair, token_type_ids } = finish(parts[0], parts[1] ?? null, true);
    if (!tokens_pair) return { tokens, token_type_ids };
    const types = [...tokens.map(() => 0), ...tokens_pair.map(() => 1)]; // none was added
    return { tokens: [...tokens, ...tokens_pair], token_type_ids: types };
  }

  /**
   * @param {string} token
   * @returns {number}
   */
  idOf(token) {
    const added = /** @type {any} */ (this.tokenizer).added_tokens_map.get(token);
    const id = added?.id ?? this.tokenizer.token_to_id(token);
    return id ?? this.tokenizer.token_to_id(this.unknown) ?? 0;
  }
}

/**
 * Return the number of tokens that are kept of each text: of a pair, the longer one is cut first.
 *
 * @param {number[]} counts number of tokens of each text
 * @param {number} room number of tokens that fit
 * @returns {number[]}
 */
function keptOf(counts, room) {
  if (counts.length === 1) return [Math.min(counts[0], room)];
  if (counts[0] + counts[1] <= room) return counts;
  const shorter = Math.min(...counts);
  const first = 2 * shorter <= room ? shorter : Math.floor(room / 2);
  const kept = [first, room - first];
  return counts[0] > counts[1] ? kept.reverse() : kept;
}

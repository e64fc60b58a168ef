/**
 * Strict JSON: no key twice, no half characters, no NaN, and the one written form of a manifest.
 *
 * The digest of a manifest is the sha256 of that form (docs/bundle.md, "Checksums").
 */

const MAX_DEPTH = 64;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /true|false|null/y;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** @typedef {{value: any, written: string, members?: Map<string, string>}} Parsed */

/**
 * Parse a JSON object.
 *
 * @param {string} text
 * @returns {{value: Record<string, any>, written: (without: string) => string}} the object, and a
 *   function that returns its one written form without a key
 * @throws {SyntaxError} the text is not such JSON
 */
export function parseObject(text) {
  const parser = new Parser(text);
  const { value, members } = parser.value(0);
  parser.skip();
  if (parser.at < text.length) parser.fail("more text follows the object");
  if (!members) throw new SyntaxError("it is not a JSON object");
  return { value, written: (without) => joined(members, without) };
}

class Parser {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  /**
   * @param {number} depth
   * @returns {Parsed}
   */
  value(depth) {
    if (depth > MAX_DEPTH) this.fail(`it is nested more than ${MAX_DEPTH} levels deep`);
    this.skip();
    switch (this.text[this.at]) {
      case "{":
        return this.object(depth);
      case "[":
        return this.array(depth);
      case '"': {
        const value = this.string();
        return { value, written: quoted(value) };
      }
      default:
        return this.number() ?? this.word();
    }
  }

  /**
   * @param {number} depth
   * @returns {Parsed}
   */
  object(depth) {
    const value = Object.create(null);
    const members = new Map();
    this.list("}", () => {
      this.skip();
      const key = this.string();
      if (members.has(key)) this.fail(`the key ${quoted(key).slice(0, 60)} stands twice`);
      this.skip();
      this.expect(":");
      const member = this.value(depth + 1);
      value[key] = member.value;
      members.set(key, `${quoted(key)}:${member.written}`);
    });
    return { value, written: joined(members), members };
  }

  /**
   * @param {number} depth
   * @returns {Parsed}
   */
  array(depth) {
    /** @type {Parsed[]} */
    const items = [];
    this.list("]", () => items.push(this.value(depth + 1)));
    const written = `[${items.map((item) => item.written).join(",")}]`;
    return { value: items.map((item) => item.value), written };
  }

  /**
   * Read the items of an object or array, with the brackets around them.
   *
   * @param {string} end
   * @param {() => void} readItem
   */
  list(end, readItem) {
    this.at += 1;
    this.skip();
    if (this.text[this.at] !== end) {
      readItem();
      for (this.skip(); this.text[this.at] === ","; this.skip()) {
        this.at += 1;
        readItem();
      }
    }
    this.expect(end);
  }

  /** @returns {string} */
  string() {
    const value = JSON.parse(this.match(STRING) ?? this.fail("a text is expected"));
    if (LONE_SURROGATE.test(value)) this.fail("a text holds half a character");
    return value;
  }

  /** @returns {Parsed | null} */
  number() {
    const literal = this.match(NUMBER);
    if (literal === null) return null;
    const value = Number(literal);
    if (!Number.isFinite(value)) this.fail(`${literal.slice(0, 60)} is too large`);
    const isWhole = /^-?\d+$/.test(literal);
    return { value, written: isWhole ? literal.replace(/^-0$/, "0") : decimal(value) };
  }

  /** @returns {Parsed} */
  word() {
    const word = this.match(WORD) ?? this.fail("a value is expected");
    return { value: JSON.parse(word), written: word };
  }

  skip() {
    this.match(SPACE);
  }

  /** @param {string} character */
  expect(character) {
    if (this.text[this.at] !== character) this.fail(`${character} is expected`);
    this.at += 1;
  }

  /** @param {RegExp} pattern */
  match(pattern) {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    this.at += match?.[0].length ?? 0;
    return match && match[0];
  }

  /**
   * @param {string} message
   * @returns {never}
   */
  fail(message) {
    throw new SyntaxError(`${message} (character ${this.at + 1})`);
  }
}

/**
 * Return an object's members in the order of the code points of their keys.
 *
 * @param {Map<string, string>} members
 * @param {string} [without]
 */
function joined(members, without) {
  const keys = [...members.keys()].filter((key) => key !== without);
  return `{${keys
    .sort(byCodePoints)
    .map((key) => members.get(key))
    .join(",")}}`;
}

/**
 * Compare two texts by their code points, as Python sorts.
 *
 * @param {string} first
 * @param {string} second
 * @returns {number}
 */
export function byCodePoints(first, second) {
  const [left, right] = [Array.from(first), Array.from(second)];
  const index = left.findIndex((character, at) => character !== right[at]);
  if (index < 0) return left.length - right.length;
  if (index >= right.length) return 1;
  return Number(left[index].codePointAt(0)) - Number(right[index].codePointAt(0));
}

/** @param {string} text */
function quoted(text) {
  const escape = (/** @type {string} */ unit) =>
    `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[^ -~]/g, escape);
}

/**
 * Return a number with a point or an exponent, as Python writes it.
 *
 * @param {number} value
 */
function decimal(value) {
  const [digits, power] = value.toExponential().split("e");
  const exponent = Number(power);
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const text = Object.is(value, -0) ? "-0" : String(value);
  return text.includes(".") ? text : `${text}.0`;
}

/** Errors that a page shows: what of a bundle, an input or a browser is wrong, and what to do. */

export class BundleError extends Error {
  /** @param {string} message a sentence that names the thing and the way out */
  constructor(message) {
    super(message);
    this.name = "BundleError";
  }
}

/**
 * Return the beginning of a value for a message.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function shown(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

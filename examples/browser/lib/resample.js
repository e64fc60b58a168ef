/** Sound at another rate: band-limited interpolation with a Kaiser window. */

const ZERO_CROSSINGS = 32; // of the sinc on each side
const ROLL_OFF = 0.95; // share of the band that is kept
const BETA = 12; // of the window: what is left of other bands is below -110 dB

/**
 * Return samples at another rate.
 *
 * Source: Smith 2002, "Digital Audio Resampling Home Page" (windowed sinc interpolation).
 *
 * @param {Float32Array} samples
 * @param {number} from samples a second
 * @param {number} to samples a second
 * @returns {Float32Array}
 */
export function resampled(samples, from, to) {
  if (from === to) return samples;
  const cutoff = Math.min(1, to / from) * ROLL_OFF;
  const half = ZERO_CROSSINGS / cutoff;
  const divisor = greatestDivisor(from, to);
  // Output i lies at sample i * step / phases.
  const [step, phases] = [from / divisor, to / divisor];
  /** @type {Map<number, Float64Array>} */
  const filters = new Map();
  const result = new Float32Array(Math.max(1, Math.round((samples.length * to) / from)));
  for (let index = 0; index < result.length; index += 1) {
    const phase = (index * step) % phases;
    const filter = filters.get(phase) ?? filterOf(phase / phases, cutoff, half);
    filters.set(phase, filter);
    const start = Math.floor((index * step) / phases) - Math.floor(half);
    let sum = 0;
    for (
      let tap = Math.max(0, -start);
      tap < filter.length && start + tap < samples.length;
      tap += 1
    ) {
      sum += samples[start + tap] * filter[tap];
    }
    result[index] = sum;
  }
  return result;
}

/**
 * Return the weights of the samples around a time.
 *
 * @param {number} fraction time after a sample, in samples
 * @param {number} cutoff share of the band that is kept
 * @param {number} half half of the window's width, in samples
 */
function filterOf(fraction, cutoff, half) {
  const reach = Math.floor(half);
  const weights = Float64Array.from({ length: 2 * reach + 2 }, (_, tap) => {
    const distance = tap - reach - fraction;
    return Math.abs(distance) > half ? 0 : sinc(cutoff * distance) * kaiser(distance / half);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** @param {number} value */
function sinc(value) {
  return value === 0 ? 1 : Math.sin(Math.PI * value) / (Math.PI * value);
}

/** @param {number} position -1..1 */
function kaiser(position) {
  return bessel(BETA * Math.sqrt(1 - position * position)) / bessel(BETA);
}

/**
 * Return the modified Bessel function of order 0.
 *
 * @param {number} value
 */
function bessel(value) {
  let [sum, term] = [1, 1];
  for (let order = 1; term > sum * 1e-12; order += 1) {
    term *= (value / (2 * order)) ** 2;
    sum += term;
  }
  return sum;
}

/**
 * @param {number} first
 * @param {number} second
 * @returns {number}
 */
function greatestDivisor(first, second) {
  return second ? greatestDivisor(second, first % second) : first;
}

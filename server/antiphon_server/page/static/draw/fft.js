// @ts-check
/** The power of the frequencies in 512 samples: a radix-2 transform with its tables made once. */

export const SIZE = 512;
const HALF = SIZE / 2;

const hann = Float32Array.from({ length: SIZE }, (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / SIZE));
const cosines = Float32Array.from({ length: HALF }, (_, at) => Math.cos((2 * Math.PI * at) / SIZE));
const sines = Float32Array.from({ length: HALF }, (_, at) => Math.sin((2 * Math.PI * at) / SIZE));
const order = Uint16Array.from({ length: SIZE }, (_, at) => reversed(at));
const real = new Float32Array(SIZE);
const imaginary = new Float32Array(SIZE);

/** @param {number} value */
function reversed(value) {
  let result = 0;
  for (let bit = 1; bit < SIZE; bit <<= 1) result = (result << 1) | (value & bit ? 1 : 0);
  return result;
}

/** @param {Int16Array} samples @param {number} at the first of them @param {Float32Array} into decibels, `HALF` of them */
export function spectrum(samples, at, into) {
  for (let index = 0; index < SIZE; index++) {
    const from = order[index] ?? 0;
    real[index] = ((samples[at + from] ?? 0) / 32_768) * (hann[from] ?? 0);
    imaginary[index] = 0;
  }
  for (let span = 1; span < SIZE; span <<= 1) {
    const stride = HALF / span;
    for (let start = 0; start < SIZE; start += span << 1) {
      for (let index = 0; index < span; index++) butterfly(start + index, span, index * stride);
    }
  }
  for (let bin = 0; bin < HALF; bin++) {
    const power = (real[bin] ?? 0) ** 2 + (imaginary[bin] ?? 0) ** 2;
    into[bin] = 10 * Math.log10(power + 1e-9);
  }
}

/** @param {number} low @param {number} span @param {number} turn */
function butterfly(low, span, turn) {
  const high = low + span;
  const cosine = cosines[turn] ?? 0;
  const sine = sines[turn] ?? 0;
  const a = real[high] ?? 0;
  const b = imaginary[high] ?? 0;
  const turnedReal = a * cosine + b * sine;
  const turnedImaginary = b * cosine - a * sine;
  real[high] = (real[low] ?? 0) - turnedReal;
  imaginary[high] = (imaginary[low] ?? 0) - turnedImaginary;
  real[low] = (real[low] ?? 0) + turnedReal;
  imaginary[low] = (imaginary[low] ?? 0) + turnedImaginary;
}

/** Image files become pixels, by a canvas. */

import { BundleError } from "../lib/errors.js";

const MAX_PIXELS = 89_478_485; // as bmc reads

/**
 * Decode an image file: turned as EXIF says, in the colors of the file.
 *
 * @param {Blob} file
 * @returns {Promise<import("../lib/encoders/image.js").Image>}
 * @throws {BundleError} the browser cannot read the file, or its pixels would change
 */
export async function readImage(file) {
  const bitmap = await decoded(file);
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    throw new BundleError(
      `the image has ${width} x ${height} pixels, more than ${MAX_PIXELS}: make it smaller`,
    );
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new BundleError("the browser offers no canvas, with which images are read");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] < 255) {
      throw new BundleError(
        "the image is transparent in parts, where a canvas loses its colors: save it without " +
          "transparency",
      );
    }
  }
  return { width, height, channels: 4, data: new Uint8Array(data.buffer) };
}

/** @param {Blob} file */
async function decoded(file) {
  try {
    return await createImageBitmap(file, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
  } catch {
    throw new BundleError(
      "the file is not an image that this browser reads: save it as PNG or JPEG",
    );
  }
}

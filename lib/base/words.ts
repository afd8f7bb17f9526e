/** Above this length the engine's own copying is quicker than a loop. */
const loopBytesMax = 384;

let lastBytes: Uint8Array = new Uint8Array(0);
let lastView = new DataView(lastBytes.buffer);

/**
 * A view of a buffer by which four bytes are read or written for the price of one. The same one is asked for many times
 * in a row, as packets are read out of a chunk: whoever keeps a buffer for longer keeps its view beside it.
 */
export function viewOf(bytes: Uint8Array): DataView {
  if (bytes !== lastBytes) {
    lastView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    lastBytes = bytes;
  }
  return lastView;
}

/** Copies `source[start, end)` to `target[at, …)`; they are different buffers. */
export function copyWords(source: DataView, start: number, end: number, target: DataView, at: number): void {
  const length = end - start;
  if (length > loopBytesMax) {
    const from = new Uint8Array(source.buffer, source.byteOffset + start, length);
    new Uint8Array(target.buffer, target.byteOffset + at, length).set(from);
    return;
  }
  let to = at;
  let from = start;
  for (const last = end - 3; from < last; from += 4, to += 4) {
    target.setInt32(to, source.getInt32(from, true), true);
  }
  for (; from < end; from++, to++) target.setUint8(to, source.getUint8(from));
}

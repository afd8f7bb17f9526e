/** Above this length the engine's own copying is quicker than a loop. */
const loopBytesMax = 384;
/** The same of a loop that copies one byte at a time. */
const singleBytesMax = 128;

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

/**
 * The same of a source that has a view if packets are being read out of it; for one that has none, as a stored row, a
 * view would cost more than copying its bytes one by one.
 * @param view of `target`
 */
export function copyOut(source: Buffer, start: number, end: number, target: Buffer, view: DataView, at: number): void {
  if (source === lastBytes) {
    copyWords(lastView, start, end, view, at);
  } else if (end - start > singleBytesMax) {
    source.copy(target, at, start, end);
  } else {
    let to = at;
    for (let from = start; from < end; from++) target[to++] = source[from];
  }
}

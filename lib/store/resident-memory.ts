/**
 * Memory for what stays, as rows of a store in memory: nothing but its size tells it from what `ArrayBuffer` gives. The
 * collector takes the growth of ordinary buffers for growth of the heap: with some ten megabytes of rows a second it
 * went through the whole heap as often, and found nothing. What may be shared between threads it does not count. The
 * memory is given back like any other when nothing refers to it.
 */
export function residentMemory(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(bytes);
}

/** A copy of bytes in such memory. */
export function residentCopy(bytes: Buffer): Buffer {
  const copy = Buffer.from(residentMemory(bytes.length));
  copy.set(bytes);
  return copy;
}

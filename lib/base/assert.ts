/** Ends the process's current work when a fact the code relies on is false: a bug of ours, never a peer's input. */
export function assert(condition: unknown, fact: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${fact}`);
}

/** How long a test waits for what must happen, in ms: only what hangs may take so long, on whatever machine. */
export const deadlineMs = 60_000;

/** The promise's value, or an error that says what was waited for once the deadline has passed. */
export async function withDeadline<Value>(
  promise: Promise<Value>,
  describe: () => string,
  limitMs = deadlineMs,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${describe()} (gave up after ${limitMs} ms)`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** How long a test waits for something that must happen: far longer than it takes on a busy machine, in ms. */
export const deadlineMs = 15_000;

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

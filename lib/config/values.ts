/**
 * A value given as text, as the type its option has. Text that is not of that type stays as it is: the check that
 * follows says what is wrong with it.
 *
 * @param type JSON Schema type of the option; undefined for an unknown one
 */
export function coerceValue(value: unknown, type: string | undefined): unknown {
  if (typeof value !== 'string') return value;
  switch (type) {
    case 'integer':
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : value;
    case 'boolean':
      return truthOf(value.trim().toLowerCase()) ?? value;
    case 'array':
    case 'object':
      return parseJson(value);
    default:
      return value;
  }
}

function truthOf(text: string): boolean | undefined {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  return undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the check reports the text itself, with what is allowed.
    return text;
  }
}

/** What errors, the environment and documentation need to know of one option, read from the JSON Schema. */
export interface OptionFacts {
  /** Keys from the top, joined with dots; `[]` stands for any index of a list. */
  readonly path: string;
  readonly type: string;
  readonly description: string;
  /** The default, undefined where there is none. */
  readonly fallback: unknown;
  /** True if it must be given, in each member of its list. */
  readonly isRequired: boolean;
  /** The values that are allowed, in words: `a whole number from 0 to 65535`. */
  readonly allowed: string;
}

type JsonSchema = Readonly<Record<string, unknown>>;

/** Lists every option in a JSON Schema by its path, groups and lists before their members. */
export function listFacts(schema: JsonSchema, parent = ''): OptionFacts[] {
  const list: OptionFacts[] = [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  for (const [key, member] of Object.entries(asSchema(schema.properties))) {
    const option = asSchema(member);
    const path = parent === '' ? key : `${parent}.${key}`;
    list.push({
      path,
      type: String(option.type),
      description: typeof option.description === 'string' ? option.description : '',
      fallback: option.default,
      isRequired: required.includes(key),
      allowed: describeAllowed(option),
    });
    list.push(...listFacts(option, path), ...listFacts(asSchema(option.items), `${path}[]`));
  }
  return list;
}

function asSchema(value: unknown): JsonSchema {
  return typeof value === 'object' && value !== null ? (value as JsonSchema) : {};
}

function describeAllowed(schema: JsonSchema): string {
  if (Array.isArray(schema.enum)) return schema.enum.join(' or ');
  switch (schema.type) {
    case 'boolean':
      return 'true or false';
    case 'integer':
      return `a whole number${describeRange(schema)}`;
    case 'number':
      return `a number${describeRange(schema)}`;
    case 'string':
      return schema.minLength === 1 ? 'text that is not empty' : 'text';
    case 'array':
      return describeList(asSchema(schema.items));
    default:
      return `a group of ${memberNames(schema)}`;
  }
}

function describeList(items: JsonSchema): string {
  if (Array.isArray(items.enum)) return `a list of ${items.enum.join(', ')}`;
  const names = memberNames(items);
  return names === '' ? 'a list of texts' : `a list, each with ${names}`;
}

function describeRange(schema: JsonSchema): string {
  const bounded = typeof schema.maximum === 'number' && schema.maximum < Number.MAX_SAFE_INTEGER;
  return bounded ? ` from ${schema.minimum} to ${schema.maximum}` : `, ${schema.minimum} or more`;
}

function memberNames(schema: JsonSchema): string {
  return Object.keys(asSchema(schema.properties)).join(', ');
}

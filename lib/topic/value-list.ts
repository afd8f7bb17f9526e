import { assert } from '../base/assert.js';

/** From this many values on, a list knows where each one is instead of searching. */
const searchMax = 16;
/** Many values are appended so many at a time: quick in the first match of a process too. */
const appendedAtOnce = 1000;

/**
 * Distinct values in an array that is quick to walk. Finding and removing one does not get slower as the list grows:
 * 100 000 clients may leave one filter, one by one.
 */
export class ValueList<T> {
  readonly values: T[];
  /** Place of each value, while there are too many to search. */
  private places: Map<T, number> | null;

  /** @param values distinct, at most 16; the list keeps and changes the array */
  constructor(values: T[]) {
    this.values = values;
    this.places = null;
  }

  /** True if removing must not keep the order, because that would cost a shift of many values. */
  get isLarge(): boolean {
    return this.places !== null;
  }

  /** Appends a value that is not in the list. */
  append(value: T): void {
    assert(this.placeOf(value) === -1, 'a value is in a list at most once');
    this.values.push(value);
    if (this.places !== null) this.places.set(value, this.values.length - 1);
    else if (this.values.length > searchMax) this.places = new Map(this.values.map((each, place) => [each, place]));
  }

  /** Where a value is, or -1. */
  placeOf(value: T): number {
    return this.places === null ? this.values.indexOf(value) : (this.places.get(value) ?? -1);
  }

  /** Changes two values' places. */
  swap(one: number, other: number): void {
    const moved = this.values[one];
    this.put(one, this.values[other]);
    this.put(other, moved);
  }

  /** Removes the value at a place. In a large list the last one takes the place, in others all after it move up. */
  removeAt(place: number): void {
    if (this.places === null) {
      this.values.splice(place, 1);
      return;
    }
    this.places.delete(this.values[place]);
    const last = this.values.length - 1;
    if (place !== last) this.put(place, this.values[last]);
    this.values.length = last;
    // Half, so that a list does not go back and forth at the border.
    if (this.values.length < searchMax / 2) this.places = null;
  }

  private put(place: number, value: T): void {
    this.values[place] = value;
    this.places?.set(value, place);
  }
}

/** The values of one filter. A filter mostly has one, and then costs no list. Values are not lists themselves. */
export type Values<T> = T | ValueList<T>;

/** What a filter without values has. Never changed. */
export const noValues = new ValueList<never>([]);

/** `values` with one more that was not among them. */
export function withValue<T>(values: Values<T>, value: T): Values<T> {
  if (values === noValues) return value;
  if (isList(values)) {
    values.append(value);
    return values;
  }
  assert(values !== value, 'a filter has a value at most once');
  return new ValueList([values, value]);
}

/** `values` with one less, or null if it was not among them. */
export function withoutValue<T>(values: Values<T>, value: T): Values<T> | null {
  if (!isList(values)) return values === value ? noValues : null;
  const place = values.placeOf(value);
  if (place === -1) return null;
  values.removeAt(place);
  return values.values.length === 1 ? values.values[0] : values;
}

/** Appends all of `values` to `into`. */
export function appendValues<T>(values: Values<T>, into: T[]): void {
  if (!isList(values)) {
    into.push(values);
    return;
  }
  const { values: all } = values;
  const single = all.length % appendedAtOnce;
  for (let place = 0; place < single; place++) into.push(all[place]);
  for (let place = single; place < all.length; place += appendedAtOnce) {
    into.push(...all.slice(place, place + appendedAtOnce));
  }
}

function isList<T>(values: Values<T>): values is ValueList<T> {
  return values instanceof ValueList;
}

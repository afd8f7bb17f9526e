const bytesAtFirst = 4096;
/** Memory above this is not kept for the next text. */
const bytesKept = 64 * 1024;
/** Up to this length a loop is quicker than a call. */
const loopCharactersMax = 128;
const million = 1_000_000;
const firstPrintable = 0x20;
const quote = 0x22;
const backslash = 0x5c;
const zero = 0x30;
const lastAscii = 0x7f;

/**
 * Puts texts together as UTF-8, in memory that is used again for the next: strings that are joined first, and encoded
 * then, cost several times as much. What was written is at `bytes[0, at)` until `reset`.
 */
export class Utf8Writer {
  bytes: Buffer = Buffer.allocUnsafeSlow(bytesAtFirst);
  at = 0;

  /** Begins a new text. */
  reset(): void {
    this.at = 0;
    if (this.bytes.length > bytesKept) this.bytes = Buffer.allocUnsafeSlow(bytesAtFirst);
  }

  text(text: string): this {
    const { length } = text;
    if (length > loopCharactersMax) return this.encoded(text);
    this.reserve(length);
    const { bytes, at } = this;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > lastAscii) return this.encoded(text);
      bytes[at + index] = code;
    }
    this.at = at + length;
    return this;
  }

  raw(source: Buffer): this {
    const { length } = source;
    this.reserve(length);
    const { bytes, at } = this;
    for (let index = 0; index < length; index++) bytes[at + index] = source[index] as number;
    this.at = at + length;
    return this;
  }

  /** A whole number from 0 to 2^53-1, in decimal. */
  integer(value: number): this {
    this.reserve(16);
    if (value < million) {
      this.digits(value, 1);
      return this;
    }
    const high = Math.floor(value / million);
    if (high < million) {
      this.digits(high, 1);
    } else {
      this.digits(Math.floor(high / million), 1);
      this.digits(high % million, million / 10);
    }
    this.digits(value - high * million, million / 10);
    return this;
  }

  /** A string of JSON, as `JSON.stringify` writes it. */
  quoted(text: string): this {
    const { length } = text;
    this.reserve(length + 2);
    const { bytes, at } = this;
    bytes[at] = quote;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code < firstPrintable || code > lastAscii || code === quote || code === backslash) {
        return this.encoded(JSON.stringify(text));
      }
      bytes[at + 1 + index] = code;
    }
    bytes[at + 1 + length] = quote;
    this.at = at + length + 2;
    return this;
  }

  private encoded(text: string): this {
    const length = Buffer.byteLength(text, 'utf8');
    this.reserve(length);
    this.at += this.bytes.write(text, this.at, length, 'utf8');
    return this;
  }

  /** @param value below a million @param least place of the first digit that is written even if it is 0: 1, 10, 100… */
  private digits(value: number, least: number): void {
    const { bytes } = this;
    let { at } = this;
    let place = least;
    while (place * 10 <= value) place *= 10;
    let rest = value | 0;
    for (; place >= 1; place = (place / 10) | 0) {
      const digit = (rest / place) | 0;
      bytes[at++] = zero + digit;
      rest -= digit * place;
    }
    this.at = at;
  }

  private reserve(count: number): void {
    const { bytes, at } = this;
    if (at + count <= bytes.length) return;
    this.bytes = Buffer.allocUnsafeSlow(2 * (at + count));
    bytes.copy(this.bytes, 0, 0, at);
  }
}

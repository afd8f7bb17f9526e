import fc from 'fast-check';
import t from 'tap';
import { ProtocolError } from '../../../lib/base/errors.js';
import { decodeUtf8, isWellFormedUtf8 } from '../../../lib/codec/utf8.js';
import { badStrings, bytes } from './bytes.js';
import { withReason } from './with-reason.js';

for (const [what, bad] of Object.entries(badStrings)) {
  t.test(`[MQTT-1.5.4-1] [MQTT-1.5.4-2] ${what} is refused wherever it stands`, async (t) => {
    for (const [before, after] of [
      ['', ''],
      ['abc', 'def'],
      ['ä', '😀'],
    ]) {
      const whole = bytes(Buffer.from(before), bad, Buffer.from(after));
      t.equal(isWellFormedUtf8(whole, 0, whole.length), false);
      t.throws(() => decodeUtf8(whole, 0, whole.length), withReason(0x81));
    }
  });
}

t.test('[MQTT-1.5.4-3] a byte order mark is kept', async (t) => {
  const text = bytes('efbbbf', Buffer.from('topic'));
  t.equal(decodeUtf8(text, 0, text.length), '\ufefftopic');
  t.equal(decodeUtf8(bytes('efbbbf'), 0, 3), '\ufeff');
});

t.test('the limits of each length, control characters and non-characters are accepted', async (t) => {
  for (const text of ['', '\u0001\u007f', '\u0080\u07ff', '\u0800\ud7ff\ue000\uffff\ufffe', '\u{10000}\u{10ffff}']) {
    const raw = Buffer.from(text);
    t.equal(isWellFormedUtf8(raw, 0, raw.length), true);
    t.equal(decodeUtf8(raw, 0, raw.length), text);
  }
});

t.test('only the range given is looked at', async (t) => {
  const raw = bytes('ff 00 c3a4 00 ff');
  t.equal(decodeUtf8(raw, 2, 4), 'ä');
  t.equal(isWellFormedUtf8(raw, 2, 3), false, 'a sequence does not go on behind the end');
  t.equal(isWellFormedUtf8(raw, 2, 2), true);
});

t.test('random bytes: agrees with the strict TextDecoder, but for U+0000', async () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const interesting = fc.constantFrom(
    0,
    0x41,
    0x7f,
    0x80,
    0x8f,
    0x90,
    0x9f,
    0xa0,
    0xbf,
    0xc1,
    0xc2,
    0xe0,
    0xed,
    0xf0,
    0xf4,
  );
  const input = fc.array(fc.oneof(interesting, fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
  fc.assert(
    fc.property(input, (list) => {
      const raw = Buffer.from(list);
      let expected: string | null = null;
      try {
        expected = decoder.decode(raw);
      } catch {
        // not well-formed: stays null
      }
      if (list.includes(0)) expected = null;
      let actual: string | null = null;
      try {
        actual = decodeUtf8(raw, 0, raw.length);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
      return actual === expected && isWellFormedUtf8(raw, 0, raw.length) === (expected !== null);
    }),
    { seed: 1, numRuns: 20_000 },
  );
});

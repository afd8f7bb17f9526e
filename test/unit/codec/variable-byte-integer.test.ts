import t from 'tap';
import {
  readVariableByteInteger,
  variableByteIntegerSize,
  writeVariableByteInteger,
} from '../../../lib/codec/variable-byte-integer.js';
import { bytes } from './bytes.js';
import { withReason } from './with-reason.js';

const limits: [number, string][] = [
  [0, '00'],
  [127, '7f'],
  [128, '8001'],
  [16_383, 'ff7f'],
  [16_384, '808001'],
  [2_097_151, 'ffff7f'],
  [2_097_152, '80808001'],
  [268_435_455, 'ffffff7f'],
];

t.test('[MQTT-1.5.5-1] each length begins where the one before ends, both ways', async (t) => {
  for (const [value, hex] of limits) {
    const target = Buffer.alloc(6, 0xee);
    const end = writeVariableByteInteger(target, 1, value);
    t.equal(target.subarray(1, end).toString('hex'), hex);
    t.equal(variableByteIntegerSize(value), hex.length / 2);
    t.equal(readVariableByteInteger(target, 1, end), value);
    t.equal(target[end], 0xee);
  }
});

t.test('[MQTT-1.5.5-1] padded forms, a fifth byte and cut off forms are refused', async (t) => {
  for (const hex of [
    '8000',
    '808000',
    '80808000',
    'ff00',
    '8080808001',
    'ffffffff7f',
    'ffffffff',
    '',
    '80',
    'ffffff',
  ]) {
    const raw = bytes(hex);
    t.throws(() => readVariableByteInteger(raw, 0, raw.length), withReason(0x81), hex);
  }
  t.throws(() => readVariableByteInteger(bytes('8001'), 0, 1), withReason(0x81), 'the end given counts');
});

t.test('values that cannot be written are a bug', async (t) => {
  t.throws(() => writeVariableByteInteger(Buffer.alloc(8), 0, 268_435_456), /28 bits/);
  t.throws(() => writeVariableByteInteger(Buffer.alloc(8), 0, -1), /28 bits/);
});

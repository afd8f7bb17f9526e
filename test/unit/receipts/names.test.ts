import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import {
  clientIdentityKey,
  encodeGroupSegment,
  encodeSegment,
  groupIdentityKey,
  isReceiptsTopic,
  serverIdentityKey,
  serverSegment,
} from '../../../lib/receipts/names.js';

t.test('"`%`, `/`, `+`, `#` and a leading `$` or `~` percent-encoded (upper-case hex)"', async (t) => {
  t.equal(encodeSegment('device-7'), 'device-7');
  t.equal(encodeSegment('a%b/c+d#e'), 'a%25b%2Fc%2Bd%23e');
  t.equal(encodeSegment('$server'), '%24server');
  t.equal(encodeSegment('~'), '%7E');
  t.equal(encodeSegment('a$b~c'), 'a$b~c', 'elsewhere they stay');
  t.equal(encodeSegment('Grüße 🐟'), 'Grüße 🐟');
});

t.test(
  '"a shared group\'s {recipient} is its $share/{group}/{filter} with the first four characters encoded"',
  async (t) => {
    t.equal(encodeGroupSegment('$share/g/cmd/+/x'), '%24%73%68%61re%2Fg%2Fcmd%2F%2B%2Fx');
  },
);

t.test('"A segment above 512 bytes becomes its first 400 bytes, `%~` and a hash"', async (t) => {
  const whole = 'x'.repeat(512);
  t.equal(encodeSegment(whole), whole);
  t.match(encodeSegment(`${whole}y`), /^x{400}%~[0-9a-f]{32}$/);
  t.not(encodeSegment(`${whole}y`), encodeSegment(`${whole}z`));
  t.match(encodeSegment('/'.repeat(171)), /^(%2F){133}%%~[0-9a-f]{32}$/, 'encoded bytes count');
  t.match(encodeSegment(`x${'ü'.repeat(300)}`), /^xü{199}%~[0-9a-f]{32}$/, 'no character is cut in two');
  const group = `$share/g/${'a'.repeat(491)}`;
  t.equal(Buffer.byteLength(encodeGroupSegment(group)), 512, 'a group of just 512 bytes');
  t.match(encodeGroupSegment(`${group}a`), /^%24%73%68%61re%2Fg%2Fa{379}%~[0-9a-f]{32}$/);
});

t.test('"so no client can look like a group", another client, `~` or `$server`', async (t) => {
  const name = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.string({ unit: fc.constantFrom('$', '~', '%', '/', '+', '#', 'a', '2', '4', 's'), maxLength: 12 }),
    fc.constantFrom('$share/g/a', '%24%73%68%61re%2Fg%2Fa', '~', '$server', '%7E'),
    fc.string({ minLength: 500, maxLength: 600 }),
  );
  const groups = name.map((filter) => `$share/g/${filter}`);
  fc.assert(
    fc.property(name, name, groups, (one, other, group) => {
      const segment = encodeSegment(one);
      if (/[/+#]/.test(segment) || segment === '~' || segment === serverSegment) return false;
      if (Buffer.byteLength(segment) > 512) return false;
      return (one === other) === (segment === encodeSegment(other)) && segment !== encodeGroupSegment(group);
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

t.test('"Ownership is client identifier *and* user name"', async (t) => {
  const keys = [
    clientIdentityKey('a', null),
    clientIdentityKey('b', null),
    clientIdentityKey('a', ''),
    clientIdentityKey('a', 'b'),
    clientIdentityKey('ab', ''),
    clientIdentityKey('', 'ab'),
    groupIdentityKey('a'),
    serverIdentityKey,
  ].map((key) => key.toString('hex'));
  t.equal(new Set(keys).size, keys.length);
  t.ok(keys.every((key) => key.length === 24));
  t.ok(clientIdentityKey('a', 'b').equals(clientIdentityKey('a', 'b')));
});

t.test(
  'keys are the first bytes of a SHA-256 over all of an identity: records of earlier versions go by them',
  async (t) => {
    const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 24);
    for (const name of ['a', '', 'Grüße 🐟', 'x'.repeat(1000)]) {
      t.equal(clientIdentityKey(name, null).toString('hex'), hashOf(`c${name}\0`));
      t.equal(clientIdentityKey(name, 'ü').toString('hex'), hashOf(`u${name}\0ü`));
      t.equal(groupIdentityKey(name).toString('hex'), hashOf(`g${name}`));
    }
  },
);

t.test('receipts live under $receipts/', async (t) => {
  t.ok(isReceiptsTopic('$receipts/~/x'));
  t.ok(isReceiptsTopic('$receipts'));
  t.notOk(isReceiptsTopic('$receiptsx/a'));
  t.notOk(isReceiptsTopic('receipts/a'));
});

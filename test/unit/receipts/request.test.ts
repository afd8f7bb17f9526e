import t from 'tap';
import { noRequest, parseRequest } from '../../../lib/receipts/request.js';

type Pairs = [string, string][];

t.test('"receipt: delivered | processed | none"', async (t) => {
  for (const receipt of ['delivered', 'processed', 'none'] as const) {
    t.same(parseRequest([['receipt', receipt]], 1, false), { receipt, deadlineSeconds: 0, hold: false });
  }
  t.same(parseRequest([], 0, false), noRequest);
  t.same(
    parseRequest(
      [
        ['receipts', 'x'],
        ['receipt-', ''],
        ['Receipt', 'y'],
      ],
      1,
      false,
    ),
    noRequest,
  );
});

t.test('"receipt-deadline: seconds, 1 to 2592000"', async (t) => {
  for (const [value, deadlineSeconds] of [
    ['1', 1],
    ['60', 60],
    ['2592000', 2_592_000],
  ] as const) {
    const pairs: Pairs = [
      ['receipt', 'delivered'],
      ['receipt-deadline', value],
    ];
    t.same(parseRequest(pairs, 0, true), { receipt: 'delivered', deadlineSeconds, hold: false });
  }
  for (const value of ['0', '2592001', '01', '1.5', '-1', '1e3', ' 1', '', '99999999999999999999']) {
    const pairs: Pairs = [
      ['receipt', 'delivered'],
      ['receipt-deadline', value],
    ];
    t.match(parseRequest(pairs, 1, false), /2592000/, `'${value}' is refused with what is allowed`);
  }
});

t.test('"receipt-hold: true, QoS 1 only"', async (t) => {
  const pairs: Pairs = [
    ['receipt', 'delivered'],
    ['receipt-hold', 'true'],
  ];
  t.same(parseRequest(pairs, 1, false), { receipt: 'delivered', deadlineSeconds: 0, hold: true });
  t.match(parseRequest(pairs, 0, false), /QoS 1/);
  t.match(parseRequest(pairs, 2, false), /QoS 1/);
  t.match(parseRequest(pairs, 1, true), /will/);
  t.match(
    parseRequest(
      [
        ['receipt', 'delivered'],
        ['receipt-hold', 'yes'],
      ],
      1,
      false,
    ),
    /'true'/,
  );
});

t.test(
  '"A value not listed, a property given twice … is refused … with a reason string that says what is allowed"',
  async (t) => {
    t.match(parseRequest([['receipt', 'Delivered']], 1, false), /must be delivered, processed or none/);
    t.match(parseRequest([['receipt', '']], 1, false), /must be delivered, processed or none/);
    for (const [name, value] of [
      ['receipt', 'delivered'],
      ['receipt-deadline', '5'],
      ['receipt-hold', 'true'],
    ]) {
      const twice: Pairs = [
        ['receipt', 'delivered'],
        [name, value],
        [name, value],
      ];
      t.match(parseRequest(twice, 1, false), /twice/, `${name} twice`);
    }
  },
);

t.test('"receipt-id belongs to the broker"', async (t) => {
  t.match(parseRequest([['receipt-id', 'x']], 0, false), /receipt-id/);
});

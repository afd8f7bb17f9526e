import t from 'tap';
import { encodeConnect, encodePublish, encodeSubscribe, readReceiveMaximum } from '../../../bench/load/frames.js';
import { type FrameSink, parseFrames } from '../../../bench/load/parser.js';

/** Writes down what the parser finds. */
class Recorder implements FrameSink {
  readonly found: string[] = [];

  onPublish(buffer: Buffer, qos: number, packetId: number, start: number, end: number): void {
    this.found.push(`publish qos ${qos} id ${packetId} ${buffer.toString('hex', start, end)}`);
  }

  onAck(packetType: number, packetId: number, reasonCode: number): void {
    this.found.push(`ack ${packetType} id ${packetId} reason ${reasonCode}`);
  }

  onControl(packetType: number, buffer: Buffer, start: number, end: number): void {
    this.found.push(`control ${packetType} ${buffer.toString('hex', start, end)}`);
  }
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

const version4 = hex('20020000 3009 0001 61 000000010000 320b 0001 61 0007 000000020000 40020102 9003 0001 00');
const version5 = hex('3010 0001 61 06 260001620001 00000000 50 03 0009 91 6002 0009');

const found4 = [
  'control 2 0000',
  'publish qos 0 id 0 000000010000',
  'publish qos 1 id 7 000000020000',
  'ack 4 id 258 reason 0',
  'control 9 000100',
];

t.test('the parser finds each frame of MQTT 3.1.1', async (t) => {
  const recorder = new Recorder();
  t.equal(parseFrames(version4, 0, version4.length, 4, recorder), version4.length);
  t.same(recorder.found, found4);
});

t.test('the parser skips properties and reads reason codes of MQTT 5', async (t) => {
  const frames = hex('300e 0001 61 06 260001620001 00000000 5003 0009 91 6002 0009');
  const recorder = new Recorder();
  t.equal(parseFrames(frames, 0, frames.length, 5, recorder), frames.length);
  t.same(recorder.found, ['publish qos 0 id 0 00000000', 'ack 5 id 9 reason 145', 'ack 6 id 9 reason 0']);
  t.equal(parseFrames(version5, 0, 10, 5, recorder), 0, 'a cut frame is left');
});

t.test('the parser finds the same when the bytes are split anywhere', async (t) => {
  for (let cut = 0; cut <= version4.length; cut++) {
    const recorder = new Recorder();
    const rest = parseFrames(version4, 0, cut, 4, recorder);
    t.ok(rest <= cut);
    parseFrames(version4, rest, version4.length, 4, recorder);
    t.same(recorder.found, found4);
  }
});

t.test('the parser reads remaining lengths of several bytes, also cut', async (t) => {
  const { frame, payloadOffset } = encodePublish(4, 'a', 0, false, 20_000);
  t.equal(payloadOffset, 7);
  for (const cut of [1, 2, 3, 100, frame.length - 1]) t.equal(parseFrames(frame, 0, cut, 4, new Recorder()), 0);
  const recorder = new Recorder();
  t.equal(parseFrames(frame, 0, frame.length, 4, recorder), frame.length);
  t.equal(recorder.found.length, 1);
  t.throws(() => parseFrames(hex('30ffffffffff'), 0, 6, 4, recorder), { message: /remaining length/ });
});

t.test('a publish template says where topic, packet id and payload are', async (t) => {
  const { frame, topicOffset, packetIdOffset, payloadOffset } = encodePublish(5, 'ab', 1, true, 8);
  t.equal(frame.toString('hex'), '330f00026162000000'.concat('00'.repeat(8)));
  t.equal(frame.toString('utf8', topicOffset, topicOffset + 2), 'ab');
  t.equal(packetIdOffset, 6);
  t.equal(payloadOffset, 9);
});

t.test('CONNECT and SUBSCRIBE are encoded for both protocol levels', async (t) => {
  const identity = { clientId: 'c', cleanStart: true, sessionExpirySeconds: 0 };
  const kept = { clientId: 'c', cleanStart: false, sessionExpirySeconds: 3600 };
  t.equal(encodeConnect(4, identity).toString('hex'), '100d00044d51545404020000000163');
  t.equal(encodeConnect(5, identity).toString('hex'), '100e00044d5154540502000000000163');
  t.equal(encodeConnect(5, kept).toString('hex'), '101300044d51545405000000051100000e10000163');
  t.equal(encodeSubscribe(4, 1, ['a'], 1).toString('hex'), '8206000100016101');
  t.equal(encodeSubscribe(5, 1, ['a', 'b'], 2).toString('hex'), '820b000100000161020001 6202'.replace(' ', ''));
});

t.test('the Receive Maximum of CONNACK is found among other properties', async (t) => {
  t.equal(readReceiveMaximum(hex('0000 00')), 65_535);
  t.equal(readReceiveMaximum(hex('0000 0c 120002 6162 2200 0a 21 0014')), 20);
  t.equal(readReceiveMaximum(hex('0000 0a 26 0001 61 0001 62 2501')), 65_535);
  t.throws(() => readReceiveMaximum(hex('0000 02 7f01')), { message: /unknown property/ });
});

/** Shorter topic names are no longer than the alias that would stand for them. */
const shortestAliased = 4;
/** Longer topic names get no alias, so that the memory of a connection is bounded: aliases × this. */
const longestAliased = 1024;
/** Places where a topic may stand. */
const ways = 4;
/** A topic in steady use survives this many others that want its place. */
const heatMax = 16;

const noBytes = new Uint8Array(0);

/**
 * The topic aliases the broker sets towards one client on one connection. @see MQTT 5 §3.3.2.3.4
 *
 * A place for each alias, found by the topic's bytes: a topic may stand in any of a few places behind its hash. Where
 * all of these are taken, each try of a newcomer cools the coldest, and what is cold is replaced: hot topics keep
 * their alias, at constant cost for each message.
 */
export class OutboundTopicAliases {
  private readonly maximum: number;
  private readonly hashes: Int32Array;
  private readonly heats: Uint8Array;
  private readonly topics: Uint8Array[];
  /** True if the alias that `aliasFor` returned is new: its PUBLISH must carry the topic name too. */
  isNew = false;

  /** @param maximum most aliases, at least 1: the lower of the client's Topic Alias Maximum and the broker's own */
  constructor(maximum: number) {
    this.maximum = maximum; // [MQTT-3.1.2-26] [MQTT-3.3.2-11]
    this.hashes = new Int32Array(maximum);
    this.heats = new Uint8Array(maximum);
    this.topics = new Array(maximum).fill(noBytes);
  }

  /**
   * The alias to send the topic name `bytes[start, end)` with, 0 for none.
   * @param maySet false if the packet has no room for topic name and alias
   */
  aliasFor(bytes: Buffer, start: number, end: number, maySet: boolean): number {
    const length = end - start;
    if (length < shortestAliased || length > longestAliased) return 0;
    const hash = hashOf(bytes, start, end);
    let place = (hash >>> 0) % this.maximum;
    let coldest = place;
    for (let way = 0; way < ways; way++) {
      if (this.isAt(place, hash, bytes, start, length)) {
        if (this.heats[place] < heatMax) this.heats[place]++;
        this.isNew = false;
        return place + 1;
      }
      if (this.heats[place] < this.heats[coldest]) coldest = place;
      if (++place === this.maximum) place = 0;
    }
    if (!maySet) return 0;
    if (this.heats[coldest] > 0) {
      this.heats[coldest]--;
      return 0;
    }
    this.hashes[coldest] = hash;
    this.heats[coldest] = 1;
    this.topics[coldest] = new Uint8Array(bytes.subarray(start, end));
    this.isNew = true;
    return coldest + 1;
  }

  private isAt(place: number, hash: number, bytes: Buffer, start: number, length: number): boolean {
    if (this.hashes[place] !== hash) return false;
    const topic = this.topics[place];
    if (topic.length !== length) return false;
    for (let index = 0; index < length; index++) if (topic[index] !== bytes[start + index]) return false;
    return true;
  }
}

/** FNV-1a with its bits mixed down. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ bytes[index], 0x01000193);
  return hash ^ (hash >>> 15);
}

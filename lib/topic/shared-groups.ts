import { assert } from '../base/assert.js';
import { FilterTrie } from './filter-trie.js';
import type { SharedFilter } from './names.js';
import { ValueList } from './value-list.js';

/** The members of one shared subscription. @see MQTT 5 §4.8.2 */
export interface SharedGroup<M> {
  /** The whole filter, `$share/group/topicFilter`. */
  readonly name: string;
  readonly group: string;
  readonly topicFilter: string;
  /** In the order in which they joined, except that leaving a group of more than 16 may change the order. */
  readonly members: readonly M[];
}

class Group<M> implements SharedGroup<M> {
  readonly name: string;
  readonly group: string;
  readonly topicFilter: string;
  readonly list: ValueList<M>;
  /** Place of the member whose turn it is; those before it had theirs in this round. At most the member count. */
  cursor: number;

  constructor(name: string, shared: SharedFilter) {
    this.name = name;
    this.group = shared.group;
    this.topicFilter = shared.topicFilter;
    this.list = new ValueList<M>([]);
    this.cursor = 0;
  }

  get members(): readonly M[] {
    return this.list.values;
  }

  remove(member: M): boolean {
    let place = this.list.placeOf(member);
    if (place === -1) return false;
    if (place < this.cursor) {
      this.cursor--;
      // The last member takes the free place: let that be the one whose turn is next, or its turn would be skipped.
      if (this.list.isLarge) {
        this.list.swap(place, this.cursor);
        place = this.cursor;
      }
    }
    this.list.removeAt(place);
    return true;
  }
}

/**
 * All shared subscriptions: which groups a topic name matches, and whose turn it is in each. A group is a share name
 * with a topic filter; the same share name with another filter is another group.
 * @see MQTT 5 §4.8.2
 */
export class SharedGroups<M> {
  private readonly groups: Map<string, Group<M>>;
  private readonly byFilter: FilterTrie<SharedGroup<M>>;

  constructor() {
    this.groups = new Map();
    this.byFilter = new FilterTrie();
  }

  /** Number of groups. */
  get size(): number {
    return this.groups.size;
  }

  /** Makes `member` the last of the group, and the group if there is none. A member that is in it keeps its place. */
  join(shared: SharedFilter, member: M): SharedGroup<M> {
    const name = fullName(shared);
    let group = this.groups.get(name);
    if (group === undefined) {
      group = new Group<M>(name, shared);
      this.groups.set(name, group);
      this.byFilter.add(shared.topicFilter, group);
    }
    if (group.list.placeOf(member) === -1) group.list.append(member);
    return group;
  }

  /** Takes `member` out of the group, and an empty group away. False if it was not a member. */
  leave(shared: SharedFilter, member: M): boolean {
    const name = fullName(shared);
    const group = this.groups.get(name);
    if (!group?.remove(member)) return false;
    if (group.members.length === 0) {
      this.groups.delete(name);
      this.byFilter.remove(group.topicFilter, group);
    }
    return true;
  }

  /** The group of a shared filter, or null. */
  get(shared: SharedFilter): SharedGroup<M> | null {
    return this.groups.get(fullName(shared)) ?? null;
  }

  /** Appends every group whose filter matches to `into`: each one gets a copy of the message. */
  match(topicName: string, into: SharedGroup<M>[]): void {
    this.byFilter.match(topicName, into);
  }

  /**
   * The next member in turn that `accepts` takes, or null. The turn passes to the one after it; members that were not
   * accepted are asked again in the next round. `accepts` is called at most once for each, and must not change the
   * group.
   */
  choose(group: SharedGroup<M>, accepts: (member: M) => boolean): M | null {
    assert(group instanceof Group, 'groups are made by SharedGroups');
    const members = group.members;
    let place = group.cursor;
    for (let asked = 0; asked < members.length; asked++) {
      if (place >= members.length) place = 0;
      const member = members[place];
      place++;
      if (accepts(member)) {
        group.cursor = place;
        return member;
      }
    }
    return null;
  }
}

function fullName(shared: SharedFilter): string {
  return `$share/${shared.group}/${shared.topicFilter}`;
}

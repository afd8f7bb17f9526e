/** An attack in a process of its own: `attacker.ts NAME PORT SIZE`, begun by a message and ended by its parent. */
import { once } from 'node:events';
import { constants, setPriority } from 'node:os';
import { attacks } from './attacks.js';

// As if it were on another machine: what it computes shall not slow the pair.
setPriority(constants.priority.PRIORITY_LOW);
const [name = '', port, size] = process.argv.slice(2);
process.once('disconnect', () => process.exit(0));
process.send?.('ready');
await once(process, 'message');
const facts = await attacks[name]?.(Number(port), Number(size));
process.send?.(facts ?? {});
// What is held is held until the parent has seen enough.
setInterval(() => undefined, 60_000);

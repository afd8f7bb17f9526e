import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/system-clock.js';
import { auditRows } from '../../lib/broker/store-audit.js';
import { type Damage, readContents } from '../../lib/broker/store-contents.js';
import { LmdbStore } from '../../lib/store/lmdb-store.js';

/** What is wrong with the data that a dead broker left, in words; looked for in a copy, so that it stays as it is. */
export async function auditCopy(directory: string): Promise<string[]> {
  const copy = mkdtempSync(join(tmpdir(), 'countersign-audit-'));
  const found: string[] = [];
  try {
    copyFileSync(join(directory, 'data.mdb'), join(copy, 'data.mdb'));
    const store = await LmdbStore.open({ directory: copy, durability: 'committed', clock: systemClock });
    const onDamage = ({ table, key, problem }: Damage): void => void found.push(`${table} ${key}: ${problem}`);
    for (const _ of readContents(store, { onDamage, onContent: () => undefined }));
    for (const _ of auditRows(store, onDamage));
    await store.close();
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  return found;
}

import { readFileSync } from 'node:fs';
import t from 'tap';
import { version } from '../../../lib/base/version.js';

t.test('the version is that of package.json', async (t) => {
  const { version: released } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  t.equal(version, released);
});

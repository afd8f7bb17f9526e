import { CountersignError } from '../base/errors.js';
import type { Hooks } from '../broker/hooks.js';
import { knowsUsers } from '../config/listener-options.js';
import { isLoopback } from '../config/networks.js';
import type { ListenerSettings, Settings } from '../config/schema.js';

const remedy = 'give passwordFile or jwt, or write allowAnonymous: true to let everybody in';

/**
 * Refuses to let everybody in from other machines unless that is asked for in so many words.
 *
 * Only `authenticate` counts as a check: methods of enhanced authentication leave open a CONNECT that names none.
 * @param hooks those that will be asked, with the ones of the settings' files
 * @param address where to listen if the settings name no listeners
 * @throws CountersignError ERR_COUNTERSIGN_CONFIG, one line that names the first address and what may be done
 */
export function refuseExposure(settings: Settings, hooks: Hooks, address: { readonly host: string }): void {
  const checksCredentials = hooks.authenticate !== undefined;
  const { listeners, allowAnonymous = false } = settings;
  if (listeners.length === 0 && !checksCredentials && !allowAnonymous) refuseUnlessLoopback('host', address.host);
  listeners.forEach((listener, index) => {
    const path = `listeners[${index}]`;
    const isChecked = checksCredentials || knowsUsers(listener);
    if (isChecked && listener.allowAnonymous === true && !allowAnonymous) {
      throw wrong(
        `${path}.allowAnonymous: true has no effect where credentials are checked: write it at the top level`,
      );
    }
    const isAllowed = listener.allowAnonymous ?? allowAnonymous;
    refuseAnyProxy(`${path}.trustedProxies`, listener);
    if (!isChecked && !isAllowed && listener.proxyProtocol === true) {
      const problem = 'clients come from other machines, by the proxy, and nothing checks who connects';
      throw wrong(`${path}.proxyProtocol: ${problem}: ${remedy}`);
    }
    // A Unix socket has no other machines at its far end.
    if (!isChecked && !isAllowed && listener.type !== 'unix') refuseUnlessLoopback(`${path}.host`, listener.host);
  });
}

function refuseUnlessLoopback(path: string, host: string): void {
  if (isLoopback(host)) return;
  const problem = `${JSON.stringify(host)} is not a loopback address, and nothing checks who connects`;
  throw wrong(`${path}: ${problem}: ${remedy}`);
}

/** Whoever reaches a listener that believes headers can pass for anybody's address. */
function refuseAnyProxy(path: string, { type, host, proxyProtocol, trustedProxies }: ListenerSettings): void {
  if (proxyProtocol !== true || trustedProxies !== undefined || type === 'unix' || isLoopback(host)) return;
  const problem = `whoever reaches ${JSON.stringify(host)} could claim to be at any address`;
  throw wrong(`${path}: is missing: ${problem}: name the proxies, such as 10.0.0.0/8; 0.0.0.0/0 and ::/0 are all`);
}

function wrong(message: string): CountersignError {
  return new CountersignError('ERR_COUNTERSIGN_CONFIG', message);
}

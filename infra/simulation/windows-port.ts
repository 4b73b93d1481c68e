// The container `windows` as a host sees it: staleness is bounded by the session token alone.
import { itemIds } from '../../shared/store/items.ts';
import type { RollUpStore } from '../../shared/store/roll-ups.ts';
import { StoreRefused } from '../../shared/store/store.ts';
import type { CallFault, Fault } from './faults.ts';
import type { Call } from './store-port.ts';
import { type WindowsContainer, tokenOf, writeOf } from './windows.ts';

export function windowsPort(
  windows: WindowsContainer,
  call: Call,
  kinds: { readFaults: readonly CallFault[]; writeFaults: readonly CallFault[] },
): RollUpStore {
  const { readFaults, writeFaults } = kinds;
  const chosen = (session: string, fault: Fault | undefined): number => {
    if (fault?.kind !== 'store.stale') return windows.writes;
    const from = writeOf(session);
    return windows.writes - Math.floor(fault.value * (windows.writes - from + 1));
  };
  return {
    readRollUp: (windowId, session) =>
      call('store.read.head', readFaults, (fault) => {
        const write = chosen(session, fault);
        const found = windows.find({ windowId, kind: 'head', id: itemIds.head }, write);
        return { found, session: tokenOf(write) };
      }),
    readContribution: (windowId, key) =>
      call('store.read.contribution', readFaults, (fault) => {
        const write = chosen('', fault);
        const place = { windowId, kind: 'contribution' as const, id: itemIds.contribution(key) };
        return { found: windows.find(place, write), session: tokenOf(write) };
      }),
    createWindowsItem: (item) =>
      call(`store.write.${item.kind}`, writeFaults, () => windows.create(item)),
    replaceWindowsItem: (item, ifMatch) =>
      call(`store.write.${item.kind}`, writeFaults, () => windows.replace(item, ifMatch)),
    listContributions: (windowId, { session, limit, continuation }) =>
      call('store.list.contribution', readFaults, (fault) => {
        const all = windows.contributions(windowId, chosen(session, fault));
        const rest = all.filter(({ id }) => continuation === undefined || id > continuation);
        const items = rest.slice(0, limit);
        const last = items.at(-1);
        return rest.length > limit && last ? { items, continuation: last.id } : { items };
      }),
    rollUpsDue: ({ after, upTo }, limit) =>
      call('store.query.rollUps', readFaults, (fault) =>
        windows
          .heads(chosen('', fault))
          .filter(({ dueAt }) => dueAt !== null && dueAt > after && dueAt <= upTo)
          .sort((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0))
          .slice(0, limit),
      ),
    listRollUps: () => {
      throw new StoreRefused(400, 'the simulation has no listRollUps');
    },
  };
}

// The part of the port that roll-ups need (H13): single items of the container `windows`.
//
// There is no batch: what makes the protocol right is the order of its writes, and that a read sees
// at least a certain write. So every answer carries a session token, and a read that has to see a
// write is handed its token; without one (`''`) a read may be as stale as any other (H14).
import type { ContributionItem, RollUpItem, WindowsItem } from './items.ts';
import type { Page, Versioned } from './store.ts';

/** `session` is handed to a later read that must not be older than this answer. */
export interface WindowsRead<Item> {
  found: Versioned<Item> | undefined;
  session: string;
}

/** 409: it is there already. 404, 412: it is not what was read. Nothing was written then. */
export type WindowsWrite =
  { applied: true; etag: string; session: string } | { applied: false; status: 404 | 409 | 412 };

/** Instants of the start of a window, both inclusive. */
export interface RollUpFilter {
  series: string;
  from: number;
  to: number;
  limit: number;
  continuation?: string;
}

/** Every method rejects with StoreUnavailable or StoreRefused; a limit is 1-1000. */
export interface RollUpStore {
  readRollUp(windowId: string, session: string): Promise<WindowsRead<RollUpItem>>;
  readContribution(windowId: string, key: string): Promise<WindowsRead<ContributionItem>>;
  createWindowsItem(item: WindowsItem): Promise<WindowsWrite>;
  replaceWindowsItem(item: WindowsItem, ifMatch: string): Promise<WindowsWrite>;
  /** In the order of their ids. */
  listContributions(
    windowId: string,
    page: { session: string; limit: number; continuation?: string },
  ): Promise<Page<ContributionItem>>;
  /** Heads with `after < dueAt <= upTo`, oldest first; asks the index. */
  rollUpsDue(range: { after: number; upTo: number }, limit: number): Promise<RollUpItem[]>;
  /** Heads of one window definition by the start of the window. */
  listRollUps(filter: RollUpFilter): Promise<Page<RollUpItem>>;
}

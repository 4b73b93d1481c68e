// The board in a real browser against the real routes. Skipped with a reason where the machine has
// no chromium; with CONVOY_CI=1 that is a failure.
import { noCounts } from '../../shared/convoy/state.ts';
import { existsSync } from 'node:fs';
import vm from 'node:vm';
import { describe, expect, test } from 'vitest';
import { type Browser, type Page, chromium } from 'playwright-core';
import { boardPage, boardPolicy } from '../../functions/operator/page.ts';
import { boardScript } from '../../functions/operator/page-script.ts';
import { emptyLayout } from '../../shared/engine/layout.ts';
import { createWorld, tell, type World } from '../operator/world.ts';
import { serve } from '../operator/serve.ts';

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = [process.env['CHROMIUM'] ?? '', ...places].find((path) => existsSync(path));
const mustRun = process.env['CONVOY_CI'] === '1';
const screenshots = process.env['CONVOY_SCREENSHOTS'];

test('the page is one text without data, external address or inline handler', () => {
  expect(() => new vm.Script(boardScript)).not.toThrow();
  expect(boardPage).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write|eval\(/);
  expect(boardPage).not.toMatch(/https?:\/\//);
  expect(boardPage).not.toMatch(/\son[a-z]+="/);
  expect(boardPolicy).toContain("default-src 'none'");
});

const title = executablePath || mustRun ? 'in a browser' : 'in a browser (skipped: no chromium)';

describe.skipIf(!executablePath && !mustRun)(title, () => {
  test('shows keys and the hold reason as text, never as markup', async () => {
    const world = await storyWorld();
    await using site = await open(world);
    const { page } = site;

    const row = page.getByRole('row').filter({ hasText: 'Stuck' });
    await row.waitFor();

    expect(await row.textContent()).toContain('CVY_HANDLER: <img src=x> no stock');
    expect(await page.locator('main img').count()).toBe(0);
    expect(site.faults).toEqual([]);
    await site.shot('list');
  });

  test('filters by hold, and opens the detail by keyboard alone', async () => {
    const world = await storyWorld();
    await using site = await open(world);
    const { page } = site;

    await page.getByLabel('Phase or hold').selectOption('blocked');
    await page.getByRole('row').nth(2).waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Stuck <b>17</b>' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('Remedy:').waitFor();

    expect(await page.locator('#facts').textContent()).toContain('no stock');
    expect(await page.locator('#messages tbody tr').count()).toBe(3);
    expect(site.faults).toEqual([]);
    await site.shot('detail');
  });

  test('marks what is hot and who throttles; advice in the detail', async () => {
    const seen = { count: 12, lastAt: new Date().toISOString(), code: '429', retryAfterMs: 40 };
    const world = await storyWorld({
      throttling: () => ({ instance: 'i1', since: seen.lastAt, cosmos: seen }),
      customStatusOf: async () => ({ throttled: { by: 'cosmos', since: Date.now() } }),
    });
    await using site = await open(world);
    const { page } = site;

    await page.getByText('throttled: cosmos 12').waitFor();
    await page.getByLabel('hot only').check();
    await page.getByRole('row').nth(2).waitFor({ state: 'detached' });
    const row = await page.getByRole('row').nth(1).textContent();
    await site.shot('hot');
    await page.getByRole('link', { name: 'Busy' }).click();
    await page.getByText('The key waits as asked').waitFor();

    expect(row).toContain('hot 2/s');
    expect(await page.locator('#facts').textContent()).toContain('67 % of the time goes to apply');
    expect(site.faults).toEqual([]);
    await site.shot('hot-detail');
  });

  test('a split key shows its lanes and no action; a lane is a page of its own', async () => {
    const world = createWorld();
    const generations = [{ count: 2, queue: 'orders', announcedAt: world.clock.now() }];
    await world.put('orders:', [{ ...emptyLayout('orders'), keys: { hot: generations } }]);
    await tell(world, 'hot', { outcomes: ['applied', 'applied'] });
    const lane = { key: 'hot', generation: 1, lane: 1 };
    await tell(world, 'hot~1.1', { outcomes: ['applied', 'waiting'], progress: { lane } });
    await using site = await open(world);
    const { page } = site;

    await page.getByRole('link', { name: 'hot', exact: true }).click();
    await page.getByRole('heading', { name: 'Lanes' }).waitFor();
    const lanes = await page.locator('#facts tbody tr').allTextContents();
    const acts = await page.locator('.acts button').count();
    await page.locator('#facts').getByRole('link', { name: 'hot~0.0' }).click();
    await page.locator('#messages tbody tr').nth(1).waitFor();

    expect(lanes).toHaveLength(2);
    expect(lanes[1]).toContain('hot~1.1');
    expect(acts).toBe(0);
    expect(await page.locator('.acts button').count()).toBeGreaterThan(0);
    expect(site.faults).toEqual([]);
    await site.shot('lanes');
  });

  test('sends an action with the reason and the cursor the operator saw', async () => {
    const world = await storyWorld();
    await using site = await open(world);
    const { page } = site;

    await page.getByRole('link', { name: 'Stuck <b>17</b>' }).click();
    await page.getByRole('button', { name: 'skip' }).click();
    await page.getByLabel('Reason').fill('known poison');
    await page.getByRole('button', { name: 'Do it' }).click();
    await page.getByRole('dialog').waitFor({ state: 'hidden' });

    expect(world.operated).toEqual([
      {
        convoy: 'orders',
        key: 'Stuck <b>17</b>',
        action: 'skip',
        reason: 'known poison',
        expectedCursor: 1,
      },
    ]);
  });

  test('asks for the host key, keeps it in the tab and sends it as a header', async () => {
    const world = await storyWorld();
    await using site = await open(world, { hostKey: 'k-1' });
    const { page } = site;

    await page.getByLabel('Host key').fill('k-1');
    await page.getByRole('button', { name: 'Use key' }).click();
    await page.getByRole('row').filter({ hasText: 'Stuck' }).waitFor();

    expect(await page.evaluate('sessionStorage.length')).toBe(1);
    expect(await page.evaluate('localStorage.length')).toBe(0);
    expect(page.url()).not.toContain('k-1');
  });

  test('stops asking while it is hidden and goes on when it is shown', async () => {
    const world = await storyWorld();
    await using site = await open(world, { standingClock: true });
    const { page } = site;
    await page.getByText(/as of/).waitFor();
    const again = page.waitForRequest(/\/api\/convoys/);
    await page.clock.runFor(3_000);
    await again;
    await page.waitForLoadState('networkidle');

    await hide(page, true);
    const before = site.asked();
    await page.clock.runFor(60_000);
    const whileHidden = site.asked() - before;
    const shownAgain = page.waitForRequest(/\/api\/convoys/);
    await hide(page, false);
    await shownAgain;

    expect(whileHidden).toBe(0);
  });
});

async function hide(page: Page, isHidden: boolean): Promise<void> {
  await page.evaluate(`
    Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  `);
}

let sharedBrowser: Promise<Browser> | undefined;

async function open(world: World, options: { hostKey?: string; standingClock?: boolean } = {}) {
  if (!executablePath) throw new Error('CONVOY_CI=1, but no chromium is on this machine');
  sharedBrowser ??= chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const browser = await sharedBrowser;
  const site = await serve(world, options);
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const faults: string[] = [];
  let asked = 0;
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  page.on('request', () => asked++);
  if (options.standingClock) await page.clock.install();
  await page.goto(site.url);
  return {
    page,
    faults,
    asked: () => asked,
    async shot(name: string): Promise<void> {
      if (!screenshots) return;
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${screenshots}/${name}-${colorScheme}.png` });
      }
    },
    async [Symbol.asyncDispose]() {
      await context.close();
      await site[Symbol.asyncDispose]();
      if (browser.contexts().length === 0) {
        sharedBrowser = undefined;
        await browser.close();
      }
    },
  };
}

/** A dozen keys: calm, busy, retrying, and one that stands behind a poison message. */
async function storyWorld(ports: Parameters<typeof createWorld>[0] = {}): Promise<World> {
  const world = createWorld(ports);
  const since = world.clock.now();
  for (let at = 1; at <= 9; at++) await tell(world, `Order ${at}`, { outcomes: ['applied'] });
  const spent = { handlerMs: 285_000, storeMs: 9_000, publishMs: 1_000, requestUnits: 900 };
  await tell(world, 'Busy', {
    outcomes: ['applied', ...Array.from({ length: 9 }, () => 'waiting' as const)],
    gate: { busy: { since, position: 0, queuedMs: 0 } },
    progress: { work: { busySince: since, since, messages: 850, isTold: true, ...spent } },
  });
  const hold = {
    kind: 'blocked' as const,
    code: 'CVY_HANDLER',
    reason: '<img src=x> no stock',
    position: 2,
    attempts: 3,
    since: world.clock.now(),
  };
  const start = world.clock.now();
  const window = { window: 'daily', start, end: start + 86_400_000, count: 2, sum: 41 };
  await tell(world, 'Stuck <b>17</b>', {
    outcomes: ['applied', 'waiting', 'waiting'],
    gate: { phase: 'held', hold, cursor: 1 },
    progress: {
      hold,
      state: { status: 'placed', steps: ['m-1'], note: '<script>alert(1)</script>' },
      openWindows: [{ ...window, min: 1, max: 40, first: 1, last: 40 }],
      counts: { ...noCounts, applied: 1 },
    },
  });
  await world.clock.advance(425_000);
  return world;
}

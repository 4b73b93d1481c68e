// The scenarios again with runs that are kept alive from their first event on: what a kept run does
// must not differ from what a replay does.
process.env['HUB_ALWAYS_LIVE'] = '1';

await import('./entities.test.ts');
await import('./events.test.ts');
await import('./orchestrations.test.ts');

export {};

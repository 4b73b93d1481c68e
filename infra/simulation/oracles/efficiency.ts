// What must hold where nothing fails: one start per epoch, one wake per wait (H4), no message waits
// for a timer, the sweeper finds nothing. A rule that only costs time when it breaks shows here.
import type { Oracle, Scene } from './oracle.ts';

/** Admitted to settled; far below the linger that a lost wake would cost. */
const settleMsMax = 2_000;

export function efficiencyOracle(scene: Scene): Oracle {
  if (!scene.scenario.isSmooth) return {};
  const admittedAt = new Map<string, number>();
  const counts = { opened: 0, waits: 0 };
  const say = (rule: string, message: string, key?: string): void =>
    scene.report({ oracle: 'efficiency', rule, message, ...(key !== undefined && { key }) });
  return {
    applied({ site, key, at, operations, gate, gateAfter }) {
      if (site === 'wait') counts.waits += 1;
      if (gate?.epoch !== gateAfter?.epoch && gateAfter?.phase === 'active') counts.opened += 1;
      if (site === 'reopen' && gate?.phase !== 'idle') {
        say('H9', 'the sweeper reopened a key that was alive', key);
      }
      for (const operation of operations) {
        if (operation.kind === 'create' && operation.item.kind === 'inbox') {
          admittedAt.set(`${key}\n${operation.item.id}`, at);
        } else if (operation.kind === 'set' && operation.id.startsWith('inbox:')) {
          const tookMs = at - (admittedAt.get(`${key}\n${operation.id}`) ?? at);
          if (tookMs > settleMsMax) say('H4', `${operation.id} settled after ${tookMs} ms`, key);
        }
      }
    },
    atEnd() {
      const { starts, wakes } = scene.hub;
      if (wakes > counts.waits) say('H4', `${wakes} wakes for ${counts.waits} waits`);
      if (starts > counts.opened) say('H2', `${starts} starts for ${counts.opened} epochs`);
    },
  };
}

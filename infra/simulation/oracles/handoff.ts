// H3–H6, H8: what gate and progress may become, whoever writes. Epochs, tail and cursor only rise;
// only the epoch in charge commits; every transition is one of those that the protocol names.
import type { Applied, Oracle, Scene } from './oracle.ts';

export function handoffOracle(scene: Scene): Oracle {
  return {
    applied(batch) {
      const { gateAfter, progressAfter } = batch;
      if (gateAfter === undefined && progressAfter === undefined) return;
      const faults = [...risingFaults(batch), ...transitionFaults(scene, batch)];
      for (const { rule, text } of faults) {
        const position = batch.progress?.cursor ?? 0;
        scene.report({ oracle: 'handoff', rule, message: text, key: batch.key, position });
      }
      const gate = gateAfter ?? batch.gate;
      const progress = progressAfter ?? batch.progress;
      if (gate && progress) scene.coverage.count(`state:${gate.phase}/${progress.hold.kind}`);
      const from = batch.gate?.phase ?? 'none';
      if (gateAfter && from !== gateAfter.phase) {
        scene.coverage.count(`gate:${from} → ${gateAfter.phase} by ${batch.site}`);
      }
      const code = progressAfter?.hold.code;
      if (code !== undefined && code !== batch.progress?.hold.code) {
        scene.coverage.count(`hold:${progressAfter?.hold.kind} ${code}`);
      }
    },
  };
}

interface Found {
  rule: string;
  text: string;
}

function risingFaults({ gate, gateAfter, progress, progressAfter }: Applied): Found[] {
  const found: Found[] = [];
  const rises = (name: string, rule: string, [before, after]: [number, number]): void => {
    if (after < before) found.push({ rule, text: `${name} went from ${before} back to ${after}` });
  };
  if (gate && gateAfter) {
    rises('gate.epoch', 'H3', [gate.epoch, gateAfter.epoch]);
    rises('gate.tail', 'H1', [gate.tail, gateAfter.tail]);
    rises('gate.publishedCommits', 'H11', [gate.publishedCommits, gateAfter.publishedCommits]);
    if (gateAfter.tail > gate.tail + 1) found.push({ rule: 'H1', text: 'tail moved by two' });
  }
  if (progress && progressAfter) {
    rises('progress.epoch', 'H3', [progress.epoch, progressAfter.epoch]);
    rises('progress.cursor', 'H5', [progress.cursor, progressAfter.cursor]);
    rises('progress.settled', 'H5', [progress.settled, progressAfter.settled]);
    rises('progress.outputCommits', 'H11', [progress.outputCommits, progressAfter.outputCommits]);
  }
  const whole = gateAfter ?? gate;
  const cursor = (progressAfter ?? progress)?.cursor ?? 0;
  if (whole && cursor > whole.tail) found.push({ rule: 'H7', text: 'the cursor passed the tail' });
  return found;
}

function transitionFaults(scene: Scene, batch: Applied): Found[] {
  const { site, gate, gateAfter, progress, progressAfter } = batch;
  const found: Found[] = [];
  const must = (rule: string, holds: boolean, text: string): void => {
    if (!holds) found.push({ rule, text: `${site}: ${text}` });
  };
  const inCharge = gate?.phase === 'active' && progress?.epoch === gate.epoch;
  switch (site) {
    case 'admitFirst':
      must('H1', progressAfter !== undefined, 'the first admit creates progress too');
      must('H1', gateAfter?.phase === 'active', 'the first admit opens an epoch');
      break;
    case 'admit': {
      const isOpening = gate?.phase === 'idle';
      const epoch = (gate?.epoch ?? 0) + (isOpening ? 1 : 0);
      must('H1', gateAfter?.epoch === epoch, `epoch ${gateAfter?.epoch}, not ${epoch}`);
      must('H1', gateAfter?.phase === (isOpening ? 'active' : gate?.phase), 'changed the phase');
      must('H4', gateAfter?.waiting === false, 'left the wait standing');
      break;
    }
    case 'commit':
    case 'hold':
      must('H5', inCharge, 'an epoch that is not in charge committed');
      must('H5', progressAfter?.epoch === progress?.epoch, 'moved the epoch');
      break;
    case 'wait':
      must('H4', inCharge && gateAfter?.phase === 'active', 'waits while not in charge');
      must('H4', progress?.cursor === gate?.tail, 'waits with a backlog');
      break;
    case 'close':
      must('H6', inCharge, 'an epoch that is not in charge closed');
      must('H6', progressAfter?.cursor === gateAfter?.tail, 'closed with a backlog');
      must('H6', progressAfter?.hold.kind === 'none', 'closed with a hold');
      must('H6', progressAfter?.healing.length === 0, 'closed while healing');
      must('H6', isOutboxEmpty(scene, batch), 'closed with outputs in the outbox');
      break;
    case 'rest': {
      const kind = progressAfter?.hold.kind ?? '';
      must('H8', inCharge, 'an epoch that is not in charge rested');
      must('H8', kind === 'blocked' || kind === 'paused', `rested with hold ${kind}`);
      must('H8', gateAfter?.hold.kind === kind, 'the gate does not show the hold');
      must('H8', gateAfter?.cursor === progressAfter?.cursor, 'the gate does not show the cursor');
      break;
    }
    case 'reopen': {
      const before = Math.max(gate?.epoch ?? 0, progress?.epoch ?? 0);
      must('H9', (gateAfter?.epoch ?? 0) > before, 'reopened with an epoch that was used');
      must('H9', gateAfter?.phase === 'active', 'reopened and not active');
      break;
    }
    case 'removePublished':
    case 'countRepeat':
    case 'dead':
    case 'quarantine':
    case 'markReplayed':
  }
  return [...found, ...fenceFaults(batch)];
}

/** Active: one epoch on both. Otherwise the fence has moved on. */
function fenceFaults({ site, gate, gateAfter, progress, progressAfter }: Applied): Found[] {
  const [phase, epoch] = [(gateAfter ?? gate)?.phase, (gateAfter ?? gate)?.epoch ?? 0];
  const fence = (progressAfter ?? progress)?.epoch;
  if (phase === undefined || fence === undefined) return [];
  const holds = phase === 'active' ? fence === epoch : fence > epoch;
  const text = `${site}: gate ${phase} in epoch ${epoch}, progress in ${fence}`;
  return holds ? [] : [{ rule: phase === 'active' ? 'H5' : 'H6', text }];
}

function isOutboxEmpty({ cosmos }: Scene, { convoyId }: Applied): boolean {
  const partition = cosmos.partition(convoyId);
  return cosmos.all(partition, { kind: 'outbox', version: partition.version }).length === 0;
}

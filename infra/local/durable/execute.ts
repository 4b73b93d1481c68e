// Runs an orchestrator once: history in, outcome out. Writes nothing.
//
// Owns:    the trigger payload, what counts as failure, the completion gate, the carry-over rule.
// Leaves:  the SDK's inner names to actions.ts, storage and messages to commit.ts.
//
// Invariants:
//   E1. Any throw of the function is a failure of the orchestration, even one without a message.
//   E2. Completion, failure and continue-as-new wait for every open activity, timer that is not
//       cancelled, and sub-orchestration [reference/durable.md 6.1, 12.3].
//   E3. Continue-as-new carries over only events behind the one that called it; events before it
//       that no wait consumed are lost, as on Azure [11.3].
import {
  cancelledTimers,
  continuation,
  divergence,
  newDecisions,
  watch,
  type Decision,
  type Watch,
} from './actions.ts';
import { textOf } from './fault.ts';
import { parsePlayed, type Generation } from './generation.ts';
import { enter, eventType, render } from './history.ts';
import type { EventRaised, HistoryEvent, InboundEvent, ParentInstance } from './history.ts';
import type { FunctionRunner } from './hub.ts';

export type Ending =
  | { kind: 'completed'; output: string | null }
  | { kind: 'failed'; reason: string }
  | { kind: 'terminated'; reason: string }
  | { kind: 'continuedAsNew'; input: string | null; carried: EventRaised[] };

export interface Outcome {
  /** The events that this episode received, its OrchestratorStarted first. */
  received: HistoryEvent[];
  decisions: Decision[];
  cancelled: number[];
  customStatus: string | null;
  /** Absent while the orchestration goes on. */
  ending?: Ending;
  /** The ending that open tasks hold back (E2), with their ids. */
  heldBack?: { ending: Ending; openIds: number[] };
}

interface SdkState {
  isDone?: boolean;
  actions?: unknown;
  output?: unknown;
  error?: string;
  customStatus?: unknown;
}

const outOfProcessLabel = '\n\n$OutOfProcData$:';
const customStatusBytesMax = 16 * 1024;

// Timers longer than six days are sliced into three-day pieces by the SDK [2, 4.5].
const constantFields =
  '"upperSchemaVersion":1,"upperSchemaVersionNew":3,' +
  '"longRunningTimerIntervalDuration":"3.00:00:00","maximumShortTimerDuration":"6.00:00:00",' +
  '"defaultHttpAsyncRequestSleepTimeMillseconds":30000';

/** The trigger text [reference/durable.md 2]. */
function payload(generation: Generation, received: readonly HistoryEvent[]): string {
  const { item, played } = generation;
  const fresh = received.map((event) => render(event, false)).join(',');
  const history = played === '' ? fresh : `${played},${fresh}`;
  const parent = item.parent ? (JSON.parse(item.parent) as ParentInstance) : null;
  const parentId = JSON.stringify(parent?.OrchestrationInstance.InstanceId ?? null);
  return (
    `{"history":[${history}],"input":${item.input ?? 'null'},` +
    `"instanceId":${JSON.stringify(item.id)},"isReplaying":${played !== ''},` +
    `"parentInstanceId":${parentId},${constantFields}}`
  );
}

interface Attempt {
  state: SdkState;
  /** Set when the function threw (E1). */
  thrown?: string;
  seen: Watch | undefined;
}

async function attempt(runner: FunctionRunner, name: string, text: string): Promise<Attempt> {
  let seen: Watch | undefined;
  try {
    const { result } = await runner.run(name, { string: text }, (context) => {
      seen = watch(context);
    });
    return { state: (result ?? {}) as SdkState, seen };
  } catch (error) {
    const message = textOf(error);
    const at = message.indexOf(outOfProcessLabel);
    // No label: the worker itself broke; what it tracked so far proves nothing.
    const state = at < 0 ? undefined : stateFrom(message.slice(at + outOfProcessLabel.length));
    if (!state) return { state: {}, thrown: message, seen: undefined };
    return { state, thrown: state.error ?? '', seen };
  }
}

function stateFrom(text: string): SdkState | undefined {
  try {
    return JSON.parse(text) as SdkState;
  } catch {
    return undefined;
  }
}

function failed(name: string, reason: string): Ending {
  return { kind: 'failed', reason: `Orchestrator function '${name}' failed: ${reason}` };
}

function endingOf(run: Attempt, generation: Generation, received: readonly HistoryEvent[]) {
  const { name } = generation.item;
  if (run.thrown !== undefined) return failed(name, run.thrown);
  if (!run.state.isDone) return undefined;
  const next = continuation(run.state.actions);
  if (next) {
    const input = next.input === undefined ? null : JSON.stringify(next.input);
    return { kind: 'continuedAsNew', input, carried: carriedOver(run, generation, received) };
  }
  return { kind: 'completed', output: JSON.stringify(run.state.output) ?? null };
}

/** [E3] */
function carriedOver(run: Attempt, generation: Generation, received: readonly HistoryEvent[]) {
  const all = [...parsePlayed(generation.played), ...received];
  return all
    .slice(run.seen?.processed ?? all.length)
    .filter((event): event is EventRaised => event.EventType === eventType.eventRaised)
    .map(({ EventType, EventId, Name, Input, Timestamp }) => {
      return { EventType, EventId, Name, Input, Timestamp };
    });
}

function customStatusOf(state: SdkState): string | null {
  if (state.customStatus === undefined || state.customStatus === null) return null;
  const text = JSON.stringify(state.customStatus);
  if (text.length * 2 > customStatusBytesMax) {
    throw new RangeError(
      'The size of the JSON-serialized payload must not exceed 16 KB of UTF-16 text.',
    );
  }
  return text;
}

/** Why Azure would refuse a decision: the function does not exist. */
function unknownFunction(runner: FunctionRunner, decisions: readonly Decision[]) {
  for (const decision of decisions) {
    if (decision.kind === 'timer') continue;
    const wanted = decision.kind === 'activity' ? 'activity' : 'orchestration';
    if (runner.kindOf(decision.name) === wanted) continue;
    const noun = wanted === 'activity' ? 'an activity' : 'an orchestrator';
    const { name } = decision;
    return `The function '${name}' doesn't exist, is disabled, or is not ${noun} function.`;
  }
  return undefined;
}

/** One episode of a generation over the received events (OrchestratorStarted first). */
export async function runEpisode(
  runner: FunctionRunner,
  generation: Generation,
  batch: { received: InboundEvent[]; startedAt: string },
): Promise<Outcome> {
  const { ledger, item } = generation;
  const { received, startedAt } = batch;
  const started = {
    EventType: eventType.orchestratorStarted,
    EventId: -1,
    Timestamp: startedAt,
  } as const;
  const events: HistoryEvent[] = [started, ...received];
  for (const event of received) enter(ledger, event);
  const run = await attempt(runner, item.name, payload(generation, events));
  const outcome: Outcome = {
    received: events,
    decisions: [],
    cancelled: [],
    customStatus: item.customStatus,
  };
  try {
    const reason = run.seen && divergence(run.seen, ledger);
    if (reason !== undefined) return { ...outcome, ending: failed(item.name, reason) };
    const decisions = run.seen ? newDecisions(run.seen, ledger) : [];
    const unknown = unknownFunction(runner, decisions);
    if (unknown) return { ...outcome, ending: failed(item.name, unknown) };
    outcome.decisions = decisions;
    if (run.seen) outcome.cancelled = cancelledTimers(run.seen, ledger);
    outcome.customStatus = customStatusOf(run.state);
    const ending = endingOf(run, generation, events) as Ending | undefined;
    return ending ? hold(outcome, ending, generation) : outcome;
  } catch (error) {
    return { ...outcome, decisions: [], ending: failed(item.name, textOf(error)) };
  }
}

/** [E2] */
function hold(outcome: Outcome, ending: Ending, generation: Generation): Outcome {
  const cancelled = new Set([...outcome.cancelled, ...generation.cancelled]);
  const open = [...generation.ledger.open].filter((id) => !cancelled.has(id));
  for (const decision of outcome.decisions) {
    if (decision.kind !== 'timer' || !decision.isCancelled) open.push(decision.id);
  }
  return open.length > 0
    ? { ...outcome, heldBack: { ending, openIds: open } }
    : { ...outcome, ending };
}

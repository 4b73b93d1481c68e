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
import { cancelledTimers, divergence, newDecisions, type Decision } from './actions.ts';
import { hubFault, textOf } from './fault.ts';
import { parsePlayed, type Generation } from './generation.ts';
import { httpActivityName } from './http-call.ts';
import { enter, eventType, render } from './history.ts';
import type {
  EventRaised,
  FailureDetails,
  HistoryEvent,
  InboundEvent,
  ParentInstance,
} from './history.ts';
import type { FunctionRunner } from './parts.ts';
import { versionMismatch, type VersionRules } from './versions.ts';
import { feed, stateOf, watch, type SdkRun, type SdkState } from './sdk.ts';

export type Ending =
  | { kind: 'completed'; output: string | null }
  | { kind: 'failed'; reason: string; details?: FailureDetails }
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
  /** What ran; the next episode may go on with it. */
  run?: SdkRun;
}

const outOfProcessLabel = '\n\n$OutOfProcData$:';
const customStatusBytesMax = 16 * 1024;

// Timers longer than six days are sliced into three-day pieces by the SDK [2, 4.5].
const constantFields =
  '"upperSchemaVersion":1,"upperSchemaVersionNew":3,' +
  '"longRunningTimerIntervalDuration":"3.00:00:00","maximumShortTimerDuration":"6.00:00:00",' +
  '"defaultHttpAsyncRequestSleepTimeMillseconds":';

/** The trigger text [reference/durable.md 2]. */
function payload({ generation, received, played, httpSleepMs }: Replay): string {
  const { item } = generation;
  const fresh = received.map((event) => render(event, false)).join(',');
  const history = played === '' ? fresh : `${played},${fresh}`;
  const parent = item.parent ? (JSON.parse(item.parent) as ParentInstance) : null;
  const parentId = JSON.stringify(parent?.OrchestrationInstance.InstanceId ?? null);
  return (
    `{"history":[${history}],"input":${item.input ?? 'null'},` +
    `"instanceId":${JSON.stringify(item.id)},"isReplaying":${played !== ''},` +
    `"parentInstanceId":${parentId},${constantFields}${httpSleepMs}}`
  );
}

interface Attempt {
  state: SdkState;
  /** Set when the function threw (E1). */
  thrown?: string;
  run: SdkRun | undefined;
  /** Received events that came after the one at which the orchestrator ended. */
  unprocessed: () => HistoryEvent[];
}

interface Replay {
  runner: FunctionRunner;
  generation: Generation;
  received: readonly HistoryEvent[];
  played: string;
  httpSleepMs: number;
}

/** Calls the function with the whole history. */
async function replay(by: Replay): Promise<Attempt> {
  const { runner, generation, received, played } = by;
  let run: SdkRun | undefined;
  const unprocessed = (): HistoryEvent[] => {
    const { eventCount } = generation;
    const processed = run?.processed ?? eventCount + received.length;
    if (processed >= eventCount) return received.slice(processed - eventCount);
    return [...parsePlayed(played).slice(processed), ...received];
  };
  try {
    const { result } = await runner.run(
      generation.item.name,
      { string: payload(by) },
      (context) => (run = watch(context)),
    );
    return { state: run?.df ? stateOf(run).state : ((result ?? {}) as SdkState), run, unprocessed };
  } catch (error) {
    const message = textOf(error);
    const at = message.indexOf(outOfProcessLabel);
    // No label: the worker itself broke; what it tracked so far proves nothing.
    const state = at < 0 ? undefined : stateFrom(message.slice(at + outOfProcessLabel.length));
    if (!state) return { state: {}, thrown: message, run: undefined, unprocessed };
    return { state, thrown: state.error ?? '', run, unprocessed };
  }
}

/** Gives a kept run what it has not seen. */
function goOn(generation: Generation, run: SdkRun, received: readonly HistoryEvent[]): Attempt {
  try {
    feed(run, generation.unfed);
    generation.unfed = [];
    const before = run.processed;
    feed(run, received);
    const unprocessed = (): HistoryEvent[] => received.slice(run.processed - before);
    return { ...stateOf(run), run, unprocessed };
  } catch (error) {
    return { state: {}, thrown: textOf(error), run: undefined, unprocessed: () => [] };
  }
}

function stateFrom(text: string): SdkState | undefined {
  try {
    return JSON.parse(text) as SdkState;
  } catch {
    return undefined;
  }
}

function failed(name: string, text: string, details?: FailureDetails): Ending {
  const reason = `Orchestrator function '${name}' failed: ${text}`;
  return { kind: 'failed', reason, ...(details ? { details } : {}) };
}

function endingOf(attempt: Attempt, generation: Generation): Ending | undefined {
  const { name } = generation.item;
  const { state, thrown } = attempt;
  if (thrown !== undefined) return failed(name, thrown, state.failureDetails);
  if (!state.isDone) return undefined;
  if (state.next) {
    const input = state.next.input === undefined ? null : JSON.stringify(state.next.input);
    return { kind: 'continuedAsNew', input, carried: carriedOver(attempt) };
  }
  return { kind: 'completed', output: JSON.stringify(state.output) ?? null };
}

/** [E3] */
function carriedOver(attempt: Attempt): EventRaised[] {
  return attempt
    .unprocessed()
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
    const wanted = wantedKinds[decision.kind];
    if (!wanted) continue;
    const name = calledName(decision);
    if (name === undefined || runner.kindOf(name) === wanted) continue;
    const noun = { activity: 'an activity', orchestration: 'an orchestrator', entity: 'an entity' };
    return `The function '${name}' doesn't exist, is disabled, or is not ${noun[wanted]} function.`;
  }
  return undefined;
}

const wantedKinds = {
  activity: 'activity',
  child: 'orchestration',
  message: 'entity',
  timer: undefined,
} as const;

function calledName(decision: Decision): string | undefined {
  switch (decision.kind) {
    case 'timer':
      return undefined;
    case 'message':
      return decision.target === '' ? undefined : decision.target.split('@')[1];
    default:
      return decision.name === httpActivityName ? undefined : decision.name;
  }
}

export interface EpisodeInput {
  received: InboundEvent[];
  startedAt: string;
  /** Reads the whole history, when it must be replayed. */
  history: () => string;
  httpSleepMs: number;
  versions: VersionRules;
}

/** One episode of a generation over the received events (OrchestratorStarted first). */
export async function runEpisode(
  runner: FunctionRunner,
  generation: Generation,
  input: EpisodeInput,
): Promise<Outcome> {
  const { ledger, item } = generation;
  const { startedAt, httpSleepMs } = input;
  const started = {
    EventType: eventType.orchestratorStarted,
    EventId: -1,
    Timestamp: startedAt,
  } as const;
  const received: HistoryEvent[] = [started, ...input.received];
  const mismatch = versionMismatch(item.version, input.versions);
  if (mismatch && input.versions.onMismatch === 'Reject') throw hubFault('HUB_VERSION', mismatch);
  for (const event of input.received) enter(ledger, event);
  if (mismatch) {
    const outcome = { received, decisions: [], cancelled: [], customStatus: item.customStatus };
    return { ...outcome, ending: failed(item.name, mismatch) };
  }
  const attempt = generation.run
    ? goOn(generation, generation.run, received)
    : await replay({ runner, generation, received, played: input.history(), httpSleepMs });
  const { run } = attempt;
  const outcome: Outcome = {
    received,
    decisions: [],
    cancelled: [],
    customStatus: item.customStatus,
  };
  try {
    const reason = run && !generation.run ? divergence(run, ledger) : undefined;
    if (reason !== undefined) return { ...outcome, ending: failed(item.name, reason) };
    const asker = { instanceId: item.id, executionId: item.executionId };
    const decisions = run ? newDecisions(run, ledger, asker) : [];
    const unknown = unknownFunction(runner, decisions);
    if (unknown) return { ...outcome, ending: failed(item.name, unknown) };
    outcome.decisions = decisions;
    if (run) Object.assign(outcome, { run, cancelled: cancelledTimers(run, ledger) });
    outcome.customStatus = customStatusOf(attempt.state);
    const ending = endingOf(attempt, generation);
    return ending ? hold(outcome, ending, generation) : outcome;
  } catch (error) {
    return { ...outcome, decisions: [], ending: failed(item.name, textOf(error)) };
  }
}

/** [E2] */
function hold(outcome: Outcome, ending: Ending, generation: Generation): Outcome {
  const cancelled = new Set(outcome.cancelled);
  const open = [...generation.ledger.open].filter((id) => !cancelled.has(id));
  for (const decision of outcome.decisions) {
    if (decision.kind === 'message') continue; // does not count as open [6.1]
    if (decision.kind !== 'timer' || !decision.isCancelled) open.push(decision.id);
  }
  return open.length > 0
    ? { ...outcome, heldBack: { ending, openIds: open } }
    : { ...outcome, ending };
}

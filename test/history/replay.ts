// Replays a history of the orchestrator with the SDK's own executor, as the worker does it.
//
// An instance lives across deployments: its history was written by earlier code and is replayed
// by the code of now. What is recorded here must therefore never diverge; a change of the
// orchestrator that breaks it needs a new orchestrator name beside the old one.
import { createRequire } from 'node:module';
import type { OrchestrationHandler } from 'durable-functions';
import { convoy } from '../../functions/convoy.ts';
import type { DrainResult } from '../../shared/engine/drain.ts';

/** Event types of the history [reference/durable.md 3]. */
const type = {
  executionStarted: 0,
  taskScheduled: 4,
  taskCompleted: 5,
  taskFailed: 6,
  timerCreated: 10,
  timerFired: 11,
  orchestratorStarted: 12,
  orchestratorCompleted: 13,
  eventRaised: 15,
};
const action = { callActivity: 0, createTimer: 5, waitForEvent: 6 };

export interface HistoryEvent {
  EventType: number;
  EventId: number;
  Timestamp: string;
  [field: string]: unknown;
}

interface Action {
  actionType: number;
  fireAt?: string;
}

export interface Outcome {
  isDone: boolean;
  actions: Action[][];
  error?: string;
}

export interface Recording {
  input: unknown;
  history: HistoryEvent[];
  outcome: Outcome;
}

/** What the world does at one yield of the orchestrator. */
export type Answer = { drain: DrainResult } | { drainFails: string } | 'wake' | 'timer';

type Executor = (input: unknown, context: unknown) => Promise<Outcome>;

interface TestingTools {
  createOrchestrator(handler: OrchestrationHandler): Executor;
  DurableOrchestrationInput: new (id: string, history: unknown[], input: unknown) => unknown;
  DummyOrchestrationContext: new () => unknown;
}

const require = createRequire(import.meta.url);
const sdk = require('durable-functions/lib/src/util/testingUtils') as TestingTools;
const instanceId = 'orders-0123456789-1';

/** Every action since the start of the history, as the worker hands it back. */
export async function replay({ input, history }: Omit<Recording, 'outcome'>): Promise<Outcome> {
  const run = sdk.createOrchestrator(convoy);
  const events = history.map((event) => {
    return { ...event, IsPlayed: false, Timestamp: new Date(event.Timestamp) };
  });
  const binding = new sdk.DurableOrchestrationInput(instanceId, events, input);
  const { isDone, actions, error } = await run(binding, new sdk.DummyOrchestrationContext());
  return { isDone, actions, ...(error !== undefined && { error }) };
}

/** Plays a story: runs the orchestrator, answers what it waits for, writes the history. */
export async function record(input: unknown, answers: readonly Answer[]): Promise<Recording> {
  let second = 0;
  let eventId = 0;
  const at = (): string => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
  const history: HistoryEvent[] = [];
  const write = (EventType: number, fields: Record<string, unknown> = {}): void => {
    history.push({ EventType, EventId: -1, Timestamp: at(), ...fields });
  };
  write(type.orchestratorStarted);
  write(type.executionStarted, { Name: 'convoy', Input: JSON.stringify(input) });
  let outcome = await replay({ input, history });
  for (const answer of answers) {
    const scheduled = outcome.actions.at(-1) ?? [];
    const ids = new Map<number, number>();
    for (const { actionType, fireAt } of scheduled) {
      if (actionType === action.waitForEvent) continue;
      ids.set(actionType, eventId);
      const isTimer = actionType === action.createTimer;
      const fields = isTimer ? { FireAt: fireAt } : { Name: 'drain' };
      write(isTimer ? type.timerCreated : type.taskScheduled, { EventId: eventId++, ...fields });
    }
    write(type.orchestratorCompleted);
    second += 10;
    write(type.orchestratorStarted);
    if (answer === 'wake') write(type.eventRaised, { Name: 'wake', Input: 'null' });
    else if (answer === 'timer') {
      const timer = scheduled.find(({ actionType }) => actionType === action.createTimer);
      const TimerId = ids.get(action.createTimer);
      write(type.timerFired, { TimerId, FireAt: timer?.fireAt });
    } else {
      const TaskScheduledId = ids.get(action.callActivity);
      if ('drain' in answer) {
        write(type.taskCompleted, { TaskScheduledId, Result: JSON.stringify(answer.drain) });
      } else {
        write(type.taskFailed, { TaskScheduledId, Reason: answer.drainFails, Details: '' });
      }
    }
    outcome = await replay({ input, history });
  }
  return { input, history, outcome };
}
